"""Times and prices in the words that every cb command uses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from decimal import Decimal


def when(time: datetime | None) -> str:
    """A time in UTC, and in local time where that differs: `2026-01-31 11:30 UTC (12:30 CET)`."""
    if time is None:
        return "open"
    utc, local = f"{time:%Y-%m-%d %H:%M} UTC", local_time(time)
    return f"{utc} ({local})" if local else utc


def price(fee: Decimal, currency: str) -> str:
    """An amount of money: `1,234.50 USD`."""
    return f"{fee:,.2f} {currency}"


def local_time(time: datetime) -> str:
    """A time in UTC on this machine's clock, with the date where that is another: `12:30 CET`; empty in UTC."""
    local = time.astimezone()
    if not local.utcoffset():
        return ""
    return local.strftime("%H:%M %Z" if local.date() == time.date() else "%Y-%m-%d %H:%M %Z")


def iso(time: datetime) -> str:
    """A time as options and programs take it: `2026-01-31T11:30:00Z`."""
    return f"{time.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def iso_or_none(time: datetime | None) -> str | None:
    """The same, and None for a time that is not known: null for programs."""
    return iso(time) if time else None


def seconds_to(time: datetime | None, now: datetime) -> int | None:
    """Whole seconds from `now` to `time`; 0 for what is past, None for a time that is not known."""
    return max(int((time - now).total_seconds()), 0) if time else None


def either(parts: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
