"""A query answered: everything on sale that fits it, and where nothing does, what is on sale nearby.

What one region refuses must not lose what others found, so a refusal is a result, too; it is an error only where there
is nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torchneuron.aws.session import Aws, Wait
from torchneuron.capacity_blocks import suggestions
from torchneuron.capacity_blocks.multi_region_search import Sweep, Telling
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.once import Clock, utc_now
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.refusals import NotSoldError, Refusal, most_telling
from torchneuron.capacity_blocks.search_request import SearchRequest
from torchneuron.capacity_blocks.suggestions import Suggestion
from torchneuron.core import display
from torchneuron.core.errors import AwsError


@dataclass(frozen=True)
class Results:
    """What a query found, cheapest usable hour first.

    `regions` are those asked. `dearer` are offerings above the query's highest price. `suggestions` is None when
    none were asked for; they are only looked for when there is no offering.
    """

    query: Query
    regions: tuple[str, ...]
    offerings: tuple[Offering, ...]
    dearer: tuple[Offering, ...] = ()
    refused: tuple[Refusal, ...] = ()
    suggestions: tuple[Suggestion, ...] | None = None

    @property
    def answered(self) -> tuple[SearchRequest, ...]:
        """The query's searches that were not refused."""
        refused = {one.request for one in self.refused}
        return tuple(one for one in self.query.requests(self.regions) if one not in refused)


def search_all(
    aws: Aws,
    query: Query,
    *,
    suggest: bool = False,
    wait: Wait | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Clock = utc_now,
) -> Results:
    """Everything on sale that fits `query`, asked for in all its regions; without any, in those `aws` has enabled.

    With `suggest`, when nothing fits: what is on sale nearby. `wait` and `clock` are for the pauses between searches.

    Raises InputError, before any call, for a region that AWS does not have; AccessError when AWS lets nobody in;
    and when every search was refused, the error that tells most.
    """
    with display.waiting("Searching") as progress:
        sweep = Sweep(aws, Telling(progress), wait=wait, clock=clock, now=now)
        regions = query.regions or tuple(aws.enabled_regions())
        requests = query.requests(regions)
        found, refused = sweep.search(requests, "Searching")
        fitting = _affordable(found, query)
        answered = [request for request in requests if request not in {one.request for one in refused}]
        ideas: tuple[Suggestion, ...] | None = () if suggest else None
        if suggest and not fitting and (answered or all(isinstance(one.error, NotSoldError) for one in refused)):
            ideas, unanswered = _suggest(aws, sweep, query, regions, answered)
            refused += unanswered
    if not answered and not ideas:
        raise most_telling(refused)
    dearer = [offering for offering in found if offering not in fitting]
    return Results(query, regions, tuple(fitting), tuple(dearer), tuple(refused), ideas)


def _suggest(
    aws: Aws, sweep: Sweep, query: Query, regions: Sequence[str], empty: Sequence[SearchRequest]
) -> tuple[tuple[Suggestion, ...], list[Refusal]]:
    """What is on sale near the searches in `empty` and in other regions, and what could not be found out."""
    near, far = suggestions.nearby(empty), []
    if query.regions:
        try:
            far = suggestions.elsewhere(query, regions, aws.enabled_regions())
        except AwsError as error:
            display.warn(f"Other regions were not searched. {error.what}")
    found, refused = sweep.search([*near, *far], "Nothing found, searching nearby")
    best: dict[SearchRequest, Offering] = {}
    for offering in _affordable(found, query):
        best.setdefault(offering.search, offering)
    nearest = [Suggestion(request, best[request]) for request in near if request in best]
    others = [Suggestion(request, offering) for request, offering in best.items() if request in far]
    return (*nearest, *others), [one for one in refused if not isinstance(one.error, NotSoldError)]


def _affordable(found: Sequence[Offering], query: Query) -> list[Offering]:
    return [one for one in found if query.max_price is None or one.fee <= query.max_price]
