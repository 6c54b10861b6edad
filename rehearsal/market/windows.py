"""Start and end times of blocks on sale. Does not read a clock.

Sources
-------
- Every block ends at 11:30 UTC and starts 30 minutes to 8 weeks ahead: EC2 user guide, "Capacity Blocks for ML".
- A block that starts soon is shorter or longer than requested: a search for 24 hours returned 8, 24 and 32 hours.
  Starts at five minutes before the hour, and durations with minutes: EC2 API reference, CapacityBlockOffering (04:55,
  08:55).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone

END_OF_DAY = time(11, 30, tzinfo=timezone.utc)
LEAD_TIME = timedelta(minutes=30)
HORIZON = timedelta(weeks=8)
MAX_DURATION = timedelta(days=182)
_DAY = timedelta(days=1)
_MIN_DURATION = timedelta(hours=1)
# Blocks that start soon start at 25 or 55 past the hour, with at least 15 minutes left to purchase them.
_SLOT = timedelta(minutes=30)
_SLOT_OFFSET = timedelta(minutes=25)
_TIME_TO_BUY = timedelta(minutes=15)


@dataclass(frozen=True)
class Window:
    """From `start` to `end`, UTC. `always`: on sale whatever the seed."""

    start: datetime
    end: datetime
    always: bool = False

    @property
    def key(self) -> str:
        """Identifies the window among all windows of a request."""
        return f"{self.start:%F}" if self.start.timetz() == END_OF_DAY else f"{self.start:%FT%R} {self.end:%F}"


def windows(now: datetime, hours: int, *, starts_soon: bool = False) -> Iterator[Window]:
    """The windows of a block of `hours`, one per day. `starts_soon`: also the two that start within 90 minutes."""
    now, length = now.astimezone(timezone.utc), timedelta(hours=hours)
    if starts_soon:
        yield from _soon(now, length)
    # The first day is always on sale, so that every search finds something.
    is_first = True
    for start in _days(now):
        yield Window(start, start + length, always=is_first)
        is_first = False


def _soon(now: datetime, length: timedelta) -> Iterator[Window]:
    """Two windows from the next slot: to the last 11:30 UTC before `length` has passed, and to the first after it."""
    start = _next_slot(now + LEAD_TIME + _TIME_TO_BUY)
    full = _end_of_day(start) - start
    for end in (start + full + length - _DAY, start + full + length):
        if _MIN_DURATION <= end - start <= MAX_DURATION and end - start != length:
            yield Window(start, end, always=True)


def _next_slot(instant: datetime) -> datetime:
    slot = instant.replace(minute=0, second=0, microsecond=0) + _SLOT_OFFSET
    while slot < instant:
        slot += _SLOT
    return slot


def _end_of_day(instant: datetime) -> datetime:
    """The first 11:30 UTC after `instant`."""
    end = datetime.combine(instant.date(), END_OF_DAY)
    return end if end > instant else end + _DAY


def _days(now: datetime) -> Iterator[datetime]:
    """11:30 UTC of each day, from 30 minutes to 8 weeks ahead."""
    start = datetime.combine(now.date(), END_OF_DAY)
    while start < now + LEAD_TIME:
        start += _DAY
    while start <= now + HORIZON:
        yield start
        start += _DAY
