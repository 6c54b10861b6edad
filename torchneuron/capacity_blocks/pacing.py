"""How fast AWS may be asked: a few requests at once, then one at a time.

DescribeCapacityBlockOfferings has a low limit for each account and region that refills slowly. AWS publishes no
numbers; people who called it back to back were refused, and those who called it as this does were not.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Pace:
    """A token bucket: `at_once` requests, then one every `interval` seconds. For one thread at a time."""

    at_once: int = 2
    interval: float = 2.0
    _spent_until: float = float("-inf")

    def reserve(self, now: float) -> float:
        """Take the next request's turn; returns the seconds to wait for it. `now`: a monotonic clock's."""
        # The time at which the bucket is full again, were nothing more to come: each request adds an interval.
        self._spent_until = max(self._spent_until, now) + self.interval
        return max(0.0, self._spent_until - self.at_once * self.interval - now)
