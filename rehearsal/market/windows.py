"""When blocks on sale start and end. Pure: no clock.

Sources
-------
- Every block ends at 11:30 UTC; it starts 30 minutes to 8 weeks ahead: EC2 user guide, "Capacity Blocks for ML".
- A block that starts soon is shorter or longer than was asked: for 24 hours, 8, 24 and 32 hours were seen. Starts
  at five minutes before the hour and minutes in a duration: EC2 API reference, CapacityBlockOffering (04:55, 08:55).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone

END_OF_DAY = time(11, 30, tzinfo=timezone.utc)
LEAD_TIME = timedelta(minutes=30)
HORIZON = timedelta(weeks=8)
LONGEST = timedelta(days=182)
_DAY = timedelta(days=1)
_SHORTEST = timedelta(hours=1)
# Of the starts between the days': every half hour at 25 and 55 past, with a quarter of an hour left to buy.
_SLOT = timedelta(minutes=30)
_SLOT_OFFSET = timedelta(minutes=25)
_TIME_TO_BUY = timedelta(minutes=15)


@dataclass(frozen=True)
class Window:
    """From `start` to `end`, UTC. `always`: there is no luck in whether it is on sale."""

    start: datetime
    end: datetime
    always: bool = False

    @property
    def key(self) -> str:
        """What names it among all windows of one request."""
        return f"{self.start:%F}" if self.start.timetz() == END_OF_DAY else f"{self.start:%FT%R} {self.end:%F}"


def windows(now: datetime, hours: int, *, starts_soon: bool = False) -> Iterator[Window]:
    """Those of a block of `hours`, day by day. With `starts_soon`, also the two that start within the hour or so."""
    now, length = now.astimezone(timezone.utc), timedelta(hours=hours)
    if starts_soon:
        yield from _soon(now, length)
    # The soonest day is always on sale, so that a rehearsal never waits for luck.
    soonest = True
    for start in _days(now):
        yield Window(start, start + length, always=soonest)
        soonest = False


def _soon(now: datetime, length: timedelta) -> Iterator[Window]:
    """Up to the 11:30 UTC before and after a block of `length` from the next slot would end."""
    start = _next_slot(now + LEAD_TIME + _TIME_TO_BUY)
    full = _end_of_day(start) - start
    for end in (start + full + length - _DAY, start + full + length):
        if _SHORTEST <= end - start <= LONGEST and end - start != length:
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
    """11:30 UTC of every day from the first that is 30 minutes ahead to the last within 8 weeks."""
    start = datetime.combine(now.date(), END_OF_DAY)
    while start < now + LEAD_TIME:
        start += _DAY
    while start <= now + HORIZON:
        yield start
        start += _DAY
