"""The rehearsal's clock: real time, which can be moved ahead and sped up.

Capacity Blocks start days after their purchase and end at a fixed time. Everything that depends on such dates reads
this clock, so that a test can move to the start of a block. Scripts and their timeouts use real time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

MAX_SPEED = 1_000_000


class ClockError(ValueError):
    """Invalid time or speed for the clock, such as one in the past."""


def parse_timestamp(text: str) -> datetime:
    """Parse an ISO 8601 timestamp with a time zone; returns it in UTC. ClockError for anything else."""
    try:
        timestamp = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ClockError(f"{text!r} is not an ISO 8601 date and time, such as 2026-01-31T11:30:00Z") from error
    if timestamp.tzinfo is None:
        raise ClockError(f"{text!r} has no time zone; write it as {text}Z for UTC")
    return timestamp.astimezone(timezone.utc)


def check_speed(speed: float) -> float:
    """Return `speed`; ClockError when the clock can't run that fast."""
    if not 1 <= speed <= MAX_SPEED:
        raise ClockError(f"the clock runs from 1 to {MAX_SPEED} times as fast as real time, not {speed:g}")
    return speed


class Clock:
    """The current time in UTC. Thread-safe."""

    def __init__(
        self,
        start: datetime | None = None,
        *,
        real: Callable[[], datetime] | None = None,
        speed: float = 1,
    ) -> None:
        """`start`: current time with a time zone; default real time. `real`: source of real time. `speed`: factor."""
        self._real = real or (lambda: datetime.now(timezone.utc))
        self._lock = threading.Lock()
        self._since = self._real()
        self._then = self._since if start is None else start.astimezone(timezone.utc)
        self._speed = speed

    def now(self) -> datetime:
        with self._lock:
            return self._now()

    def move_to(self, instant: datetime) -> datetime:
        """Move ahead to `instant` (with a time zone); returns the new time. ClockError when it is in the past."""
        with self._lock:
            if instant < self._now():
                raise ClockError(
                    f"the clock says {self._now():%FT%TZ} and can't go back to {instant:%FT%TZ}; "
                    "start another rehearsal with --clock instead"
                )
            return self._set(instant.astimezone(timezone.utc))

    def advance(self, by: timedelta) -> datetime:
        """Move ahead; returns the new time. ClockError when `by` is negative."""
        if by < timedelta(0):
            raise ClockError(f"the clock can't go back {-by}; start another rehearsal with --clock instead")
        with self._lock:
            return self._set(self._now() + by)

    def run_at(self, speed: float) -> datetime:
        """Set the speed from now on; returns the time. ClockError for an invalid speed."""
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
