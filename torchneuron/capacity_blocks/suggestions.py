"""What to search for when nothing fits: nearby durations, fewer instances, other dates, other regions. Pure.

AWS answers searches slowly (see `pacing`), so there are few of them, the nearest first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.rules import days, next_longer, next_shorter
from torchneuron.capacity_blocks.search_request import SearchRequest

MOST_NEARBY = 12
"""Searches beside those of other regions."""


@dataclass(frozen=True)
class Suggestion:
    """Something else to search for, the cheapest offering it has, and how it differs from what was asked."""

    request: SearchRequest
    offering: Offering


def nearby(empty: Sequence[SearchRequest]) -> list[SearchRequest]:
    """What to ask for instead of the searches in `empty`, which found nothing: at most a dozen, nearest first."""
    ideas = zip_longest(*(_instead_of(request) for request in empty))
    different = dict.fromkeys(idea for idea in chain.from_iterable(ideas) if idea and idea not in empty)
    return list(islice(different, MOST_NEARBY))


def elsewhere(query: Query, searched: Iterable[str], enabled: Iterable[str]) -> list[SearchRequest]:
    """The query's types in each region of `enabled` that was not `searched`, for the first of its durations."""
    rest = [region for region in enabled if region not in set(searched)]
    return [one for one in query.requests(rest) if one.duration_hours == query.hours[0]]


def difference(asked: Query, request: SearchRequest) -> str:
    """What is different about `request`, in words: `for 2 days`."""
    parts = []
    if asked.regions and request.region not in asked.regions:
        parts.append(f"in {request.region}")
    if request.duration_hours not in asked.hours:
        parts.append(f"for {days(request.duration_hours)}")
    if request.count != asked.count:
        parts.append(f"only {request.count} x {request.what}")
    if (request.start_after, request.start_before) != (asked.start_after, asked.start_before):
        parts.append("at any time")
    return ", ".join(parts) or "the same"


def _instead_of(request: SearchRequest) -> Iterator[SearchRequest]:
    if request.start_after or request.start_before:
        yield dataclasses.replace(request, start_after=None, start_before=None)
    for hours in (next_longer(request.duration_hours), next_shorter(request.duration_hours)):
        if hours:
            yield dataclasses.replace(request, duration_hours=hours)
    count = request.count // 2
    while count:
        yield dataclasses.replace(request, count=count)
        count //= 2
