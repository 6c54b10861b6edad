"""How often one may search for Capacity Blocks: a token bucket an account and region, in real time. Pure: no moto.

Sources
-------
- The code: EC2 API reference, "Error codes" (CapacityBlockDescribeLimitExceeded), a client error, hence status 400.
- That the limit is low, refills slowly, and is an account's in one region: as clients that scan regions found it. Its
  numbers are assumed, and so is the text.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from rehearsal.errors import AwsError
from rehearsal.market_settings import Searches


@dataclass(frozen=True)
class _Bucket:
    limit: Searches
    left: float
    at: float


class SearchLimits:
    """What is left of the searches of each account in each region. Safe to use from any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: seconds of real time, from any beginning."""
        self._now = now
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def spend(self, account: str, region: str, limit: Searches | None) -> None:
        """Count one search, whatever becomes of it; AwsError when it comes too fast. Another limit starts afresh."""
        if limit is None:
            return
        with self._lock:
            now, key = self._now(), (account, region)
            bucket = self._buckets.get(key)
            left = float(limit.burst)
            if bucket is not None and bucket.limit == limit:
                left = min(left, bucket.left + (now - bucket.at) * limit.per_second)
            allowed = left >= 1
            self._buckets[key] = _Bucket(limit, left - 1 if allowed else left, now)
        if not allowed:
            raise AwsError(
                "CapacityBlockDescribeLimitExceeded",
                "You've reached the limit of Capacity Block offerings requests for this account in this Region. "
                "Try again later.",
            )
