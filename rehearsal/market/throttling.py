"""How often one may ask: token buckets by account and region, in real time. Pure: no moto.

Sources
-------
- The code for searches: EC2 API reference, "Error codes" (CapacityBlockDescribeLimitExceeded), a client error, hence
  status 400. That their limit is low, refills slowly, and is an account's in one region: as clients that scan regions
  found it. Its numbers are assumed, and so is the text.
- ThrottlingException, "Rate exceeded": SSM API reference, "Common Errors".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rehearsal.errors import AwsError, SettingsError
from rehearsal.market.settings import Searches, read_rate


@dataclass(frozen=True)
class _Bucket:
    limit: Searches
    left: float
    at: float


class Buckets:
    """What is left for each of whoever asks. Safe to use from any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: seconds of real time, from any beginning."""
        self._now = now
        self._lock = threading.Lock()
        self._buckets: dict[Hashable, _Bucket] = {}

    def take(self, key: Hashable, limit: Searches | None) -> bool:
        """Count one request and say whether it may be had. Another limit starts afresh."""
        if limit is None:
            return True
        with self._lock:
            now = self._now()
            bucket = self._buckets.get(key)
            left = float(limit.burst)
            if bucket is not None and bucket.limit == limit:
                left = min(left, bucket.left + (now - bucket.at) * limit.per_second)
            allowed = left >= 1
            self._buckets[key] = _Bucket(limit, left - 1 if allowed else left, now)
            return allowed


class SearchLimits:
    """What is left of the searches for Capacity Blocks of each account in each region."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._buckets = Buckets(now)

    def spend(self, account: str, region: str, limit: Searches | None) -> None:
        """Count one search, whatever becomes of it; AwsError when it comes too fast."""
        if not self._buckets.take((account, region), limit):
            raise AwsError(
                "CapacityBlockDescribeLimitExceeded",
                "You've reached the limit of Capacity Block offerings requests for this account in this Region. "
                "Try again later.",
            )


class CallRates:
    """The rates of operations, as the control API sets them: `POST rates`, see docs/rehearsal.md."""

    def __init__(self, is_limited: Callable[[str], bool] = lambda _: True) -> None:
        """`is_limited`: whether there is such an operation, and its requests come by here."""
        self._is_limited = is_limited
        self._buckets = Buckets()
        self._rates: Mapping[str, Searches | None] = {}

    def spend(self, account: str, region: str, operation: str) -> None:
        """Count one request; AwsError when it comes too fast."""
        if not self._buckets.take((account, region, operation), self._rates.get(operation)):
            raise AwsError("ThrottlingException", "Rate exceeded")

    def change(self, body: Mapping[str, Any]) -> None:
        """Set the rates of the operations that `body` names, null for none; SettingsError, and nothing, else."""
        if not body or not all(self._is_limited(operation) for operation in body):
            raise SettingsError(
                'send operations of Systems Manager, such as {"SendCommand": {"burst": 2, "per_second": 0.5}}'
            )
        self._rates = {**self._rates, **{operation: read_rate(operation, rate) for operation, rate in body.items()}}

    def shown(self) -> dict[str, Any]:
        return {operation: asdict(rate) for operation, rate in self._rates.items() if rate is not None}
