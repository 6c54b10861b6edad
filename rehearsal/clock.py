"""The rehearsal's clock: real time, moved ahead on request, and as much faster as it is told to run.

A Capacity Block lives by the calendar: bought days before it starts, taken back at a fixed hour. Everything
in the rehearsal that depends on such dates reads this clock, so that a test can be at the start of a block at
once. What depends on work really done (a script's seconds, a time limit) keeps real time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

MOST_SPEED = 1_000_000


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


def check_speed(speed: float) -> float:
    """`speed`, if a clock can run that fast; ClockError otherwise."""
    if not 1 <= speed <= MOST_SPEED:
        raise ClockError(f"the clock runs from 1 to {MOST_SPEED} times as fast as real time, not {speed:g}")
    return speed


class Clock:
    """Now, in UTC. Safe to use from any thread."""

    def __init__(
        self,
        start: datetime | None = None,
        *,
        real: Callable[[], datetime] | None = None,
        speed: float = 1,
    ) -> None:
        """Set the clock.

        `start`: what it says now, with a time zone; real time when None. `real`: where time flows from. `speed`: how
        many times as fast it runs.
        """
        self._real = real or (lambda: datetime.now(timezone.utc))
        self._lock = threading.Lock()
        self._since = self._real()
        self._then = self._since if start is None else start.astimezone(timezone.utc)
        self._speed = speed

    def now(self) -> datetime:
        with self._lock:
            return self._now()

    def move_to(self, instant: datetime) -> datetime:
        """Jump ahead to `instant` (with a time zone) and return the new now; ClockError when it is in the past."""
        with self._lock:
            if instant < self._now():
                raise ClockError(
                    f"the clock says {self._now():%FT%TZ} and can't go back to {instant:%FT%TZ}; "
                    "start another rehearsal with --clock instead"
                )
            return self._set(instant.astimezone(timezone.utc))

    def advance(self, by: timedelta) -> datetime:
        """Jump `by` ahead; ClockError when it is negative. Returns the new now."""
        if by < timedelta(0):
            raise ClockError(f"the clock can't go back {-by}; start another rehearsal with --clock instead")
        with self._lock:
            return self._set(self._now() + by)

    def run_at(self, speed: float) -> datetime:
        """Run so many times as fast from now on; ClockError for what is no such number. Returns now."""
        check_speed(speed)
        with self._lock:
            now = self._set(self._now())
            self._speed = speed
            return now

    def _now(self) -> datetime:
        return self._then + (self._real() - self._since) * self._speed

    def _set(self, instant: datetime) -> datetime:
        self._since, self._then = self._real(), instant
        return instant
