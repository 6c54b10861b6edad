"""Searches of several regions: the regions in parallel, and in each region one search after the other.

boto3's clients are safe to use in any thread, but not to make in several from one session: they are made here, before
the threads start. An error ends the sweep only where no other search would fare better.
"""

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
from torchneuron.capacity_blocks.pacing import Pace
from torchneuron.capacity_blocks.refusals import Refusal
from torchneuron.capacity_blocks.search_request import SearchRequest
from torchneuron.core import display
from torchneuron.core.errors import AwsError, InputError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_T = TypeVar("_T")


class Telling:
    """The line beside the spinner that says how far a sweep is. Told from several threads."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._what = ""
        self._done = self._searches = 0

    def begin(self, what: str, regions: Sequence[str], searches: int) -> None:
        where = regions[0] if len(regions) == 1 else f"{len(regions)} regions"
        self._what, self._done, self._searches = f"{what} in {where}", 0, searches
        self._tell()

    def one_done(self) -> None:
        with self._lock:
            self._done += 1
            self._tell()

    def backing_off(self, region: str, seconds: float) -> None:
        with self._lock:
            self._tell(f"; too fast for AWS in {region}, again in {seconds:.0f} s")

    def _tell(self, more: str = "") -> None:
        so_far = f": {self._done} of {self._searches}" if self._searches > 1 else ""
        display.retell(self._progress, f"{self._what}{so_far}{more}")


@dataclass
class _Region:
    """One region to search: its client, and how fast it may be asked. Used by one thread at a time."""

    ec2: EC2Client
    pace: Pace = field(default_factory=Pace)


class Sweep:
    """Searches regions, each at its own pace, which goes on from one search to the next."""

    def __init__(
        self, aws: Aws, telling: Telling, *, wait: Wait | None, clock: Callable[[], float], now: Clock
    ) -> None:
        """`wait`: for the pauses between searches, by default one that Ctrl-C ends. `clock`: monotonic, seconds."""
        self._aws = aws
        self._telling = telling
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._clock = clock
        self._now = now
        self._regions: dict[str, _Region] = {}

    def search(self, requests: Sequence[SearchRequest], what: str) -> tuple[list[Offering], list[Refusal]]:
        """What `requests` found, cheapest usable hour first, each offering once; and which of them were refused.

        Raises InputError, before any call, for a region that AWS does not have; AccessError without credentials.
        """
        by_region: dict[str, list[SearchRequest]] = {}
        for request in requests:
            by_region.setdefault(request.region, []).append(request)
        for region in by_region:
            self._open(region)
        found: list[Offering] = []
        refused: list[Refusal] = []
        if not by_region:
            return found, refused
        self._telling.begin(what, tuple(by_region), len(requests))
        searches = [_in_background(functools.partial(self._search_region, *one)) for one in by_region.items()]
        try:
            for done in as_completed(searches):
                here, refused_here = done.result()
                found += here
                refused += refused_here
        except BaseException:  # Ctrl-C, too: no other region is asked anything more
            self._stop.set()
            raise
        place = {request: index for index, request in enumerate(requests)}
        once = {(offering.search.region, offering.id): offering for offering in found}
        return offerings.in_order(list(once.values())), sorted(refused, key=lambda one: place[one.request])

    def _open(self, region: str) -> None:
        if region not in self._regions:
            aws = self._aws.elsewhere(region)
            self._regions[region] = _Region(aws.ec2(wait=lambda seconds: self._back_off(region, seconds)))

    def _search_region(self, region: str, requests: list[SearchRequest]) -> tuple[list[Offering], list[Refusal]]:
        """One region's searches, in turn. One that was refused for what it asked does not end the others."""
        at = self._regions[region]
        found: list[Offering] = []
        refused: list[Refusal] = []
        for index, request in enumerate(requests):
            pause = at.pace.reserve(self._clock())
            if self._stop.is_set() or (pause and self._wait(pause) is True):
                break
            try:
                found += offerings.search(at.ec2, request, now=self._now)
            except InputError as error:
                refused.append(Refusal(request, error))
            except AwsError as error:
                if is_about_sign_in(error):
                    raise
                # No permission, no answer, the limit: the others would end like this one, only later.
                refused += [Refusal(one, error) for one in requests[index:]]
                break
            self._telling.one_done()
        return found, refused

    def _back_off(self, region: str, seconds: float) -> object:
        self._telling.backing_off(region, seconds)
        return self._wait(seconds)


def _in_background(work: Callable[[], _T]) -> Future[_T]:
    """`work`, done by a thread that nobody waits for at the end: an executor's would keep Ctrl-C waiting for AWS."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
