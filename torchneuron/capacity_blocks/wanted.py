"""What a person wants to buy, from the options they gave, and whether what AWS quotes now is still that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from torchneuron import options
from torchneuron.capacity_blocks import shown
from torchneuron.capacity_blocks.offerings import Offering, SearchRequest
from torchneuron.config import Config
from torchneuron.errors import InputError

_DEFAULT_HOURS = 24


@dataclass(frozen=True)
class Wanted:
    """What the person asked to buy. `shown` is the offering as a search showed it, if it is remembered.

    `start_time`, aware, must be the offering's when given. `project` goes into the block's tags; the journal
    of what was sent from this machine is in `state_dir`.
    """

    offering_id: str
    search: SearchRequest
    project: str
    state_dir: Path
    start_time: datetime | None = None
    shown: Offering | None = None


def want(
    config: Config,
    region: str,
    offering_id: str,
    *,
    start_time: str = "",
    instance_type: str = "",
    duration_hours: int = 0,
    count: int = 0,
) -> Wanted:
    """The options of `cb.purchase`, checked. What is not given is what the search that showed the offering
    asked for, else the default type, one day and one instance.

    `start_time` is ISO 8601, in UTC unless it says otherwise. Raises InputError when it is not.
    """
    if not offering_id:
        raise InputError("Which offering? --offering-id is missing.", do="Find one with invoke cb.search, by its id.")
    seen = shown.recall(config.state_dir, offering_id, region)
    search = SearchRequest(
        instance_type=instance_type or (seen.search.instance_type if seen else config.default_instance_type),
        duration_hours=duration_hours or (seen.search.duration_hours if seen else _DEFAULT_HOURS),
        count=count or (seen.search.count if seen else 1),
        region=region,
    )
    start = options.moment("--start-time", start_time)
    return Wanted(offering_id, search, config.project_name, config.state_dir, start_time=start, shown=seen)


def check_unchanged(offering: Offering, wanted: Wanted) -> None:
    """Raise InputError unless the offering is the one the person decided on, and no dearer."""
    if wanted.start_time and wanted.start_time != offering.start:
        raise InputError(
            f"Offering {offering.id} does not start at {wanted.start_time:%Y-%m-%d %H:%M} UTC.",
            why=f"It starts at {offering.start:%Y-%m-%d %H:%M} UTC. Nothing was bought.",
            do=f"If that is what you want: --start-time {offering.start:%Y-%m-%dT%H:%M:%SZ}",
        )
    if wanted.shown and offering.fee > wanted.shown.fee:
        raise InputError(
            f"Offering {wanted.offering_id} has become dearer since it was shown to you. Nothing was bought.",
            why=f"Its price was {wanted.shown.fee} {wanted.shown.currency},"
            f" and is {offering.fee} {offering.currency} now.",
            do="Look again with invoke cb.search, and buy what it shows if the price is right.",
        )
