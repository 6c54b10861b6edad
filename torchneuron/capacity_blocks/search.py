"""Run a query: the offerings that match it, and, if none does, offerings nearby.

A refused search is part of the results, so that one region's refusal does not lose what others found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torchneuron.aws.session import Aws, Wait
from torchneuron.capacity_blocks import suggestions
from torchneuron.capacity_blocks.multi_region_search import MultiRegionSearch, SearchProgress
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.once import Clock, utc_now
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.refusals import NotSoldError, Refusal, combined_error
from torchneuron.capacity_blocks.rules import SearchRequest
from torchneuron.capacity_blocks.suggestions import Suggestion
from torchneuron.core import display
from torchneuron.core.errors import AwsError


@dataclass(frozen=True)
class Results:
    """The results of a query, by price per usable hour.

    `regions` are those searched. `dearer` are offerings above the query's maximum price, `unsupported` those that
    `invoke deploy` cannot use. `suggestions` is None unless requested; they are searched only without `offerings`.
    """

    query: Query
    regions: tuple[str, ...]
    offerings: tuple[Offering, ...]
    dearer: tuple[Offering, ...] = ()
    unsupported: tuple[Offering, ...] = ()
    refused: tuple[Refusal, ...] = ()
    suggestions: tuple[Suggestion, ...] | None = None

    @property
    def answered(self) -> tuple[SearchRequest, ...]:
        """The query's searches that were not refused."""
        refused = {refusal.request for refusal in self.refused}
        return tuple(request for request in self.query.requests(self.regions) if request not in refused)


def search_all(
    aws: Aws,
    query: Query,
    *,
    suggest: bool = False,
    wait: Wait | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Clock = utc_now,
) -> Results:
    """Search all regions of `query`, or, if it has none, every region enabled for the account.

    With `suggest`, if nothing matches, also search nearby. `wait` and `clock` are for pauses between searches.

    Raises InputError, before any call, for an unknown region; AccessError without valid credentials; and, if every
    search was refused, one error for all.
    """
    with display.waiting("Searching") as progress:
        searcher = MultiRegionSearch(aws, SearchProgress(progress), wait=wait, clock=clock, now=now)
        regions = query.regions or tuple(aws.enabled_regions())
        requests = query.requests(regions)
        found, refused = searcher.run(requests, "Searching")
        matching = _matching(found, query)
        refused_requests = {refusal.request for refusal in refused}
        answered = [request for request in requests if request not in refused_requests]
        nearby: tuple[Suggestion, ...] | None = () if suggest else None
        if suggest and not matching and (answered or all(isinstance(item.error, NotSoldError) for item in refused)):
            nearby, unanswered = _suggest(aws, searcher, query, regions, answered)
            refused += unanswered
    if not answered and not nearby:
        raise combined_error(refused)
    unsupported = [offering for offering in found if offering.unsupported_reason]
    dearer = [offering for offering in found if offering not in matching and offering not in unsupported]
    return Results(query, regions, tuple(matching), tuple(dearer), tuple(unsupported), tuple(refused), nearby)


def _suggest(
    aws: Aws, searcher: MultiRegionSearch, query: Query, regions: Sequence[str], empty: Sequence[SearchRequest]
) -> tuple[tuple[Suggestion, ...], list[Refusal]]:
    """Offerings near the searches in `empty` and in other regions, and the searches for them that failed."""
    near, far = suggestions.nearby(empty), []
    if query.regions:
        try:
            far = suggestions.elsewhere(query, regions, aws.enabled_regions())
        except AwsError as error:
            display.warn(f"Other regions were not searched. {error.what}")
    found, refused = searcher.run([*near, *far], "Nothing found, searching nearby")
    best: dict[SearchRequest, Offering] = {}
    for offering in _matching(found, query):
        best.setdefault(offering.search, offering)
    nearest = [Suggestion(request, best[request]) for request in near if request in best]
    others = [Suggestion(request, offering) for request, offering in best.items() if request in far]
    return (*nearest, *others), [refusal for refusal in refused if not isinstance(refusal.error, NotSoldError)]


def _matching(found: Sequence[Offering], query: Query) -> list[Offering]:
    """The offerings that `invoke deploy` can use, up to the query's maximum price."""
    return [
        offering
        for offering in found
        if not offering.unsupported_reason and (query.max_price is None or offering.fee <= query.max_price)
    ]
