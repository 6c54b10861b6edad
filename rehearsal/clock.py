"""The rehearsal's clock: real time, moved ahead on request.

A Capacity Block lives by the calendar: bought days before it starts, taken back at a fixed hour. Everything
in the rehearsal that depends on such dates reads this clock, so that a test can be at the start of a block at
once. What depends on work really done (a script's seconds, a time limit) keeps real time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone


class ClockError(ValueError):
    """The clock was asked to do what time does not: go back, or jump to a date without a time zone."""


def parse_instant(text: str) -> datetime:
    """An ISO 8601 instant with a time zone (`Z` included), in UTC; ClockError for anything else."""
    try:
        instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ClockError(f"{text!r} is not an ISO 8601 date and time, such as 2026-01-31T11:30:00Z") from error
    if instant.tzinfo is None:
        raise ClockError(f"{text!r} has no time zone; write it as {text}Z for UTC")
    return instant.astimezone(timezone.utc)


class Clock:
    """Now, in UTC. Safe to use from any thread."""

    def __init__(self, start: datetime | None = None, *, real: Callable[[], datetime] | None = None) -> None:
        """Set the clock.

        `start`: what it says now, with a time zone; real time when None. `real`: where time flows from.
        """
        self._real = real or (lambda: datetime.now(timezone.utc))
        self._lock = threading.Lock()
        self._ahead = timedelta(0) if start is None else start.astimezone(timezone.utc) - self._real()

    def now(self) -> datetime:
        with self._lock:
            return self._real() + self._ahead

    def move_to(self, instant: datetime) -> datetime:
        """Jump ahead to `instant` (with a time zone) and return the new now; ClockError when it is in the past."""
        with self._lock:
            ahead = instant.astimezone(timezone.utc) - self._real()
            if ahead < self._ahead:
                raise ClockError(
                    f"the clock says {self._real() + self._ahead:%FT%TZ} and can't go back to {instant:%FT%TZ}; "
                    "start another rehearsal with --clock instead"
                )
            self._ahead = ahead
            return self._real() + self._ahead

    def advance(self, by: timedelta) -> datetime:
        """Jump `by` ahead; ClockError when it is negative. Returns the new now."""
        if by < timedelta(0):
            raise ClockError(f"the clock can't go back {-by}; start another rehearsal with --clock instead")
        with self._lock:
            self._ahead += by
            return self._real() + self._ahead
