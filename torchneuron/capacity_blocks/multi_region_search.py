"""Searches in several regions: regions in parallel, and within a region one search at a time, rate-limited."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from rich.progress import Progress

from torchneuron.aws.errors import is_about_sign_in
from torchneuron.aws.session import Aws, Wait
from torchneuron.capacity_blocks import offerings
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.once import Clock
from torchneuron.capacity_blocks.refusals import Refusal
from torchneuron.capacity_blocks.rules import SearchRequest
from torchneuron.core import display
from torchneuron.core.errors import AwsError, InputError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_T = TypeVar("_T")


@dataclass
class TokenBucket:
    """A rate limit: `burst` requests at once, then one every `interval` seconds. Not thread-safe.

    DescribeCapacityBlockOfferings has a low limit per account and region that refills slowly. AWS publishes no
    numbers; back-to-back calls were throttled, and calls at this rate were not.
    """

    burst: int = 2
    interval: float = 2.0
    _full_at: float = float("-inf")

    def reserve(self, now: float) -> float:
        """Reserve the next request; returns the seconds to wait before it. `now` is a monotonic time."""
        self._full_at = max(self._full_at, now) + self.interval
        return max(0.0, self._full_at - self.burst * self.interval - now)


class SearchProgress:
    """The progress line beside the spinner. Thread-safe."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._description = ""
        self._done = self._total = 0

    def start(self, action: str, regions: Sequence[str], searches: int) -> None:
        where = regions[0] if len(regions) == 1 else f"{len(regions)} regions"
        self._description, self._done, self._total = f"{action} in {where}", 0, searches
        self._show()

    def advance(self) -> None:
        with self._lock:
            self._done += 1
            self._show()

    def show_backoff(self, region: str, seconds: float) -> None:
        with self._lock:
            self._show(f"; rate limit reached in {region}, retrying in {seconds:.0f} s")

    def _show(self, suffix: str = "") -> None:
        count = f": {self._done} of {self._total}" if self._total > 1 else ""
        display.update_waiting(self._progress, f"{self._description}{count}{suffix}")


@dataclass
class _Region:
    """A region's client and rate limit. Used by one thread at a time."""

    ec2: EC2Client
    bucket: TokenBucket = field(default_factory=TokenBucket)


class MultiRegionSearch:
    """Searches regions, each with a rate limit that lasts from one `run` to the next."""

    def __init__(
        self, aws: Aws, progress: SearchProgress, *, wait: Wait | None, clock: Callable[[], float], now: Clock
    ) -> None:
        """`wait` pauses between searches, by default until Ctrl-C at most; `clock` is monotonic, in seconds."""
        self._aws = aws
        self._progress = progress
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._clock = clock
        self._now = now
        self._regions: dict[str, _Region] = {}

    def run(self, requests: Sequence[SearchRequest], action: str) -> tuple[list[Offering], list[Refusal]]:
        """The offerings found, by price per usable hour and without duplicates, and the searches that were refused.

        `action` is the text of the progress line. Raises InputError, before any call, for an unknown region;
        AccessError without valid credentials.
        """
        by_region: dict[str, list[SearchRequest]] = {}
        for request in requests:
            by_region.setdefault(request.region, []).append(request)
        # boto3's clients are thread-safe; creating several from one session is not.
        for region in by_region:
            self._open(region)
        found: list[Offering] = []
        refused: list[Refusal] = []
        if not by_region:
            return found, refused
        self._progress.start(action, tuple(by_region), len(requests))
        searches = [_in_background(functools.partial(self._search_region, *item)) for item in by_region.items()]
        try:
            for done in as_completed(searches):
                region_found, region_refused = done.result()
                found += region_found
                refused += region_refused
        except BaseException:  # including Ctrl-C: send no further request
            self._stop.set()
            raise
        position = {request: index for index, request in enumerate(requests)}
        unique = {(offering.search.region, offering.id): offering for offering in found}
        return offerings.in_order(list(unique.values())), sorted(refused, key=lambda item: position[item.request])

    def _open(self, region: str) -> None:
        if region not in self._regions:
            aws = self._aws.elsewhere(region)
            self._regions[region] = _Region(aws.ec2(wait=lambda seconds: self._back_off(region, seconds)))

    def _search_region(self, name: str, requests: list[SearchRequest]) -> tuple[list[Offering], list[Refusal]]:
        """Run one region's searches in turn. An invalid search does not end the others."""
        region = self._regions[name]
        found: list[Offering] = []
        refused: list[Refusal] = []
        for index, request in enumerate(requests):
            pause = region.bucket.reserve(self._clock())
            if self._stop.is_set() or (pause and self._wait(pause) is True):
                break
            try:
                found += offerings.search(region.ec2, request, now=self._now)
            except InputError as error:
                refused.append(Refusal(request, error))
            except AwsError as error:
                if is_about_sign_in(error):
                    raise
                # Permissions, no response or the rate limit: the remaining searches would fail the same way.
                refused += [Refusal(remaining, error) for remaining in requests[index:]]
                break
            self._progress.advance()
        return found, refused

    def _back_off(self, region: str, seconds: float) -> object:
        self._progress.show_backoff(region, seconds)
        return self._wait(seconds)


def _in_background(work: Callable[[], _T]) -> Future[_T]:
    """Run `work` in a daemon thread. An executor would join its threads, so Ctrl-C would wait for AWS."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised by future.result()
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
