"""How long until something happens to a block, in words a person plans by."""

from __future__ import annotations

from datetime import datetime

from torchneuron.core.text import duration

# States without a countdown, in EC2's spelling and meaning (EC2 API reference, CapacityReservation).
_ENDINGS = {
    "cancelled": "cancelled",
    "cancelling": "being cancelled: the capacity is released, charges go on until that is done",
    "failed": "failed: nothing was reserved",
    "payment-failed": "payment failed: AWS has released the block, and nothing was paid",
    "unsupported": "AWS could not provide the capacity: nothing was reserved",
}


def describe(state: str, *, start: datetime, reclaimed: datetime | None, end: datetime | None, now: datetime) -> str:
    """What comes next for a reservation in `state` (EC2's word), counted from `now`. All times aware.

    `reclaimed` is when AWS begins to terminate instances: None for a reservation that only stops being
    reserved. Without an `end` it is open-ended.
    """
    if state in _ENDINGS:
        return _ENDINGS[state]
    if state == "payment-pending":
        return f"payment under way, {_start(start, now)}"
    if state in ("scheduled", "pending"):
        return _start(start, now)
    if state == "assessing":
        return f"AWS is looking whether it can provide it, {_start(start, now)}"
    if state == "delayed":
        return f"AWS is late: it was to start {duration(now - start)} ago" if start <= now else _start(start, now)
    if state == "unavailable":
        then = _start(start, now) if start > now else _end(reclaimed, end, now)
        return f"AWS cannot provide the capacity at the moment, {then}"
    if state == "active":
        return _end(reclaimed, end, now)
    if state == "expired":
        return f"ended {duration(now - end)} ago" if end and end <= now else "ended"
    return state


def _start(start: datetime, now: datetime) -> str:
    return f"starts in {duration(start - now)}" if start > now else "about to start"


def _end(reclaimed: datetime | None, end: datetime | None, now: datetime) -> str:
    if end is None:
        return "until cancelled"
    if reclaimed and now < reclaimed:
        return f"instances are terminated in {duration(reclaimed - now)}"
    if now >= end:
        return "ending"
    left = f"ends in {duration(end - now)}"
    return f"instances are being terminated, {left}" if reclaimed else left
