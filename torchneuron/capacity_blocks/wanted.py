"""What a person wants to buy, from the options they gave, and whether what AWS quotes now is still that."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from torchneuron.capacity_blocks import shown
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.rules import DEFAULT_HOURS
from torchneuron.capacity_blocks.search_request import SearchRequest
from torchneuron.core.config import Config
from torchneuron.core.errors import InputError
from torchneuron.core.text import iso, price


@dataclass(frozen=True)
class Wanted:
    """What the person asked to buy. `shown` is the offering as a search showed it, if it is remembered.

    `start_time`, aware, must be the offering's when given; its fee may not be above `max_price`, which is in the
    offering's currency. `project` goes into the block's tags; the journal of what was sent from this machine is in
    `state_dir`.
    """

    offering_id: str
    search: SearchRequest
    project: str
    state_dir: Path
    start_time: datetime | None = None
    shown: Offering | None = None
    max_price: Decimal | None = None


def want(
    config: Config,
    region: str,
    offering_id: str,
    *,
    start_time: datetime | None = None,
    max_price: Decimal | None = None,
    instance_type: str = "",
    ultraserver_type: str = "",
    duration_hours: int = 0,
    count: int = 0,
) -> Wanted:
    """The options of `cb.purchase`, checked. What is not given is what the search that showed the offering
    asked for, its region included, else the default region and type, one day and one instance.

    Raises InputError without an id, with both kinds of type, and for another region than the offering's. Times are
    aware.
    """
    if not offering_id:
        raise InputError("Which offering? --offering-id is missing.", do="Find one with invoke cb.search, by its id.")
    if instance_type and ultraserver_type:
        raise InputError("--type and --ultraserver are both given.", do="An UltraServer's type says it all.")
    seen = shown.recall(config.state_dir, offering_id)
    if seen and region and region != seen.search.region:
        raise InputError(
            f"Offering {offering_id} is not in {region}.",
            why=f"cb.search showed it for {seen.search.region}. Nothing was bought.",
            do=f"Buy it there: -r {seen.search.region}. Or see what there is in {region}: invoke cb.search -r {region}",
        )
    # EC2 shows a few offerings of many: the one that was not shown here is asked for by its start, where that is known.
    unseen = SearchRequest(
        "" if ultraserver_type else config.default_instance_type,
        DEFAULT_HOURS,
        1,
        region or config.default_region,
        start_after=start_time,
        start_before=start_time,
    )
    given: dict[str, Any] = {
        "instance_type": instance_type,
        "ultraserver_type": ultraserver_type,
        "duration_hours": duration_hours,
        "count": count,
    }
    search = dataclasses.replace(seen.search if seen else unseen, **{k: value for k, value in given.items() if value})
    return Wanted(offering_id, search, config.project_name, config.state_dir, start_time, seen, max_price)


def check_unchanged(offering: Offering, wanted: Wanted) -> None:
    """Raise InputError unless the offering is the one the person decided on, and no dearer."""
    if wanted.start_time and wanted.start_time != offering.start:
        raise InputError(
            f"Offering {offering.id} does not start at {wanted.start_time:%Y-%m-%d %H:%M} UTC.",
            why=f"It starts at {offering.start:%Y-%m-%d %H:%M} UTC. Nothing was bought.",
            do=f"If that is what you want: --start-time {iso(offering.start)}",
        )
    fee = price(offering.fee, offering.currency)
    if wanted.max_price is not None:
        if offering.fee > wanted.max_price:
            raise InputError(
                f"Offering {offering.id} costs {fee}, more than --max-price {wanted.max_price}. Nothing was bought.",
                do="Give a higher --max-price, or look for a cheaper one with invoke cb.search.",
            )
    elif wanted.shown and offering.fee > wanted.shown.fee:
        raise InputError(
            f"Offering {wanted.offering_id} has become dearer since it was shown to you. Nothing was bought.",
            why=f"Its price was {price(wanted.shown.fee, wanted.shown.currency)}, and is {fee} now.",
            do=f"If that price is right, say so: --max-price {offering.fee}. Or look again with invoke cb.search.",
        )
