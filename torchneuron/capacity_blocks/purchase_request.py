"""What `cb.purchase` is asked to buy, and whether AWS's current quote still matches it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from torchneuron.capacity_blocks import offerings, shown
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.options import PurchaseOptions
from torchneuron.capacity_blocks.rules import DEFAULT_HOURS, SearchRequest
from torchneuron.core.config import Config
from torchneuron.core.errors import InputError
from torchneuron.core.options import aws_id
from torchneuron.core.text import iso, price


@dataclass(frozen=True)
class PurchaseRequest:
    """An offering to buy, and the search that finds it.

    `start_time` (aware), when given, must be the offering's start; the fee must not exceed `max_price`, in the
    offering's currency. `shown` is the offering as an earlier search showed it. `project` goes into the block's tags;
    `state_dir` holds the journal.
    """

    offering_id: str
    search: SearchRequest
    project: str
    state_dir: Path
    start_time: datetime | None = None
    shown: Offering | None = None
    max_price: Decimal | None = None

    @classmethod
    def from_options(cls, config: Config, options: PurchaseOptions) -> PurchaseRequest:
        """The request for the options of `cb.purchase`.

        Options that are not given default to the search that showed the offering, else to the default region and
        type, one day and one instance. Raises InputError for a missing or malformed id, for another region than the
        offering's, and for an offering that `invoke deploy` cannot use.
        """
        offering_id, region, start_time = options.offering_id, options.region, options.start_time
        if not offering_id:
            raise InputError("Missing option: --offering-id.", do="Find an offering and its id with invoke cb.search.")
        aws_id("--offering-id", offering_id, "cb")
        seen = shown.recall(config.state_dir, offering_id)
        if seen:
            offerings.refuse_unsupported(seen)
        if seen and region and region != seen.search.region:
            raise InputError(
                f"Offering {offering_id} is not in {region}.",
                why=f"cb.search showed it for {seen.search.region}. Nothing was bought.",
                do=f"Buy it there: -r {seen.search.region}. Or search {region}: invoke cb.search -r {region}",
            )
        # EC2 shows a few of many offerings. The start, where it is known, makes it show this one.
        default = SearchRequest(
            config.default_instance_type,
            DEFAULT_HOURS,
            1,
            region or config.default_region,
            start_after=start_time,
            start_before=start_time,
        )
        given = {"instance_type": options.type, "duration_hours": options.duration, "count": options.count}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value}
        search = dataclasses.replace(seen.search if seen else default, **changes)
        return cls(offering_id, search, config.project_name, config.state_dir, start_time, seen, options.max_price)

    def check(self, offering: Offering) -> None:
        """Raise InputError unless `offering`, as quoted now, is what the user asked for and costs no more."""
        offerings.refuse_unsupported(offering)
        if self.start_time and self.start_time != offering.start:
            raise InputError(
                f"Offering {offering.id} does not start at {self.start_time:%Y-%m-%d %H:%M} UTC.",
                why=f"It starts at {offering.start:%Y-%m-%d %H:%M} UTC. Nothing was bought.",
                do=f"To buy it anyway, add --start-time {iso(offering.start)}",
            )
        fee = price(offering.fee, offering.currency)
        if self.max_price is not None:
            if offering.fee > self.max_price:
                raise InputError(
                    f"Offering {offering.id} costs {fee}, more than --max-price {self.max_price}. Nothing was bought.",
                    do="Raise --max-price, or find a cheaper offering with invoke cb.search.",
                )
        elif self.shown and offering.fee > self.shown.fee:
            raise InputError(
                f"Offering {self.offering_id} now costs more than when you searched. Nothing was bought.",
                why=f"It cost {price(self.shown.fee, self.shown.currency)}, and costs {fee} now.",
                do=f"To accept that price, add --max-price {offering.fee}. Or search again with invoke cb.search.",
            )
