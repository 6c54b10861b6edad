"""What to search for when nothing matches: nearby durations, smaller counts, other dates, other regions. Pure.

AWS limits the rate of searches, so there are few of them, nearest first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.rules import SearchRequest, days, next_longer, next_shorter

MAX_NEARBY = 12
"""Limit of searches in the regions already searched."""


@dataclass(frozen=True)
class Suggestion:
    """An alternative search, and the cheapest offering it found."""

    request: SearchRequest
    offering: Offering


def nearby(empty: Sequence[SearchRequest]) -> list[SearchRequest]:
    """Alternatives to the searches in `empty`, which found nothing: at most MAX_NEARBY, nearest first."""
    alternatives = zip_longest(*(_alternatives(request) for request in empty))
    unique = dict.fromkeys(request for request in chain.from_iterable(alternatives) if request and request not in empty)
    return list(islice(unique, MAX_NEARBY))


def elsewhere(query: Query, searched: Iterable[str], enabled: Iterable[str]) -> list[SearchRequest]:
    """The query's types in each enabled region that was not searched, for the first of its durations."""
    rest = [region for region in enabled if region not in set(searched)]
    return [request for request in query.requests(rest) if request.duration_hours == query.hours[0]]


def difference(query: Query, request: SearchRequest) -> str:
    """How `request` differs from `query`, as text: `for 2 days`."""
    parts = []
    if query.regions and request.region not in query.regions:
        parts.append(f"in {request.region}")
    if request.duration_hours not in query.hours:
        parts.append(f"for {days(request.duration_hours)}")
    if request.count != query.count:
        parts.append(f"only {request.count} x {request.instance_type}")
    if (request.start_after, request.start_before) != (query.start_after, query.start_before):
        parts.append("at any time")
    return ", ".join(parts) or "the same"


def _alternatives(request: SearchRequest) -> Iterator[SearchRequest]:
    if request.start_after or request.start_before:
        yield dataclasses.replace(request, start_after=None, start_before=None)
    for hours in (next_longer(request.duration_hours), next_shorter(request.duration_hours)):
        if hours:
            yield dataclasses.replace(request, duration_hours=hours)
    count = request.count // 2
    while count:
        yield dataclasses.replace(request, count=count)
        count //= 2
