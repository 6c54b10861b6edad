"""Times and prices in the words that every cb command uses."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal


def when(time: datetime | None) -> str:
    """A time in UTC, and in local time where that differs: `2026-01-31 11:30 UTC (12:30 CET)`."""
    if time is None:
        return "open"
    local = time.astimezone()
    utc = f"{time:%Y-%m-%d %H:%M} UTC"
    if not local.utcoffset():
        return utc
    form = "%H:%M %Z" if local.date() == time.date() else "%Y-%m-%d %H:%M %Z"
    return f"{utc} ({local.strftime(form)})"


def price(fee: Decimal, currency: str) -> str:
    """An amount of money: `1,234.50 USD`."""
    return f"{fee:,.2f} {currency}"
