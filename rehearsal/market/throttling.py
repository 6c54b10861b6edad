"""Rate limits: token buckets by account and region, in real time. Does not import moto.

Sources
-------
- The error code for searches: EC2 API reference, "Error codes" (CapacityBlockDescribeLimitExceeded), a client error,
  hence status 400. Clients that scan regions observed a low limit per account and region that refills slowly. The
  numbers and the text are assumed.
- ThrottlingException, "Rate exceeded": SSM API reference, "Common Errors".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rehearsal.errors import AwsError, SettingsError
from rehearsal.market.settings import RateLimit, parse_rate_limit


@dataclass(frozen=True)
class _Bucket:
    limit: RateLimit
    tokens: float
    updated: float


class TokenBuckets:
    """A token bucket for each key. Thread-safe."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: seconds of real time since an arbitrary start."""
        self._now = now
        self._lock = threading.Lock()
        self._buckets: dict[Hashable, _Bucket] = {}

    def take(self, key: Hashable, limit: RateLimit | None) -> bool:
        """Count a request and return whether it is allowed. A new limit starts with a full bucket."""
        if limit is None:
            return True
        with self._lock:
            now = self._now()
            bucket = self._buckets.get(key)
            tokens = float(limit.burst)
            if bucket is not None and bucket.limit == limit:
                tokens = min(tokens, bucket.tokens + (now - bucket.updated) * limit.per_second)
            is_allowed = tokens >= 1
            self._buckets[key] = _Bucket(limit, tokens - 1 if is_allowed else tokens, now)
            return is_allowed


class SearchLimits:
    """The rate limit of searches for Capacity Blocks, per account and region."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._buckets = TokenBuckets(now)

    def check(self, account: str, region: str, limit: RateLimit | None) -> None:
        """Count a search, whether it succeeds or not; AwsError if the limit is exceeded."""
        if not self._buckets.take((account, region), limit):
            raise AwsError(
                "CapacityBlockDescribeLimitExceeded",
                "You've reached the limit of Capacity Block offerings requests for this account in this Region. "
                "Try again later.",
            )


class CallRates:
    """Rate limits of operations, set with `POST rates` of the control API: see docs/rehearsal.md."""

    def __init__(self, is_limited: Callable[[str], bool] = lambda _: True) -> None:
        """`is_limited`: whether an operation exists and can be rate-limited."""
        self._is_limited = is_limited
        self._buckets = TokenBuckets()
        self._rates: Mapping[str, RateLimit | None] = {}

    def check(self, account: str, region: str, operation: str) -> None:
        """Count a request; AwsError if the rate is exceeded."""
        if not self._buckets.take((account, region, operation), self._rates.get(operation)):
            raise AwsError("ThrottlingException", "Rate exceeded")

    def change(self, body: Mapping[str, Any]) -> None:
        """Set the rates of the operations in `body`, null for no limit. SettingsError, without a change, if invalid."""
        if not body or not all(self._is_limited(operation) for operation in body):
            raise SettingsError(
                'send operations of Systems Manager, such as {"SendCommand": {"burst": 2, "per_second": 0.5}}'
            )
        self._rates = {
            **self._rates,
            **{operation: parse_rate_limit(operation, rate) for operation, rate in body.items()},
        }

    def shown(self) -> dict[str, Any]:
        return {operation: asdict(rate) for operation, rate in self._rates.items() if rate is not None}
