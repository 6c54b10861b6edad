"""The options of the `cb.*` commands but `cb.search`, with their help texts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from torchneuron.core.options import amount, flag, moment, option, whole_number

_REGION = "AWS region [default: the settings' default region]"
_RESERVATION = "Reservation id, cr-…"
_TABLE_OR_JSON = "Output format: table or json [default: table]"
_DRY_RUN = "Show what would change, and change nothing"
_TRY_PURCHASE = "Check that it is on sale and that you may buy it, and buy nothing"
_YES = "Do not ask"


@dataclass(frozen=True)
class PurchaseOptions:
    """`cb.purchase`."""

    offering_id: str = option("Offering id, cb-…, from cb.search")
    start_time: datetime | None = option(
        "Refuse an offering that starts at another time, in ISO 8601", default=None, parse=moment
    )
    region: str = option("AWS region [default: where cb.search found the offering, else the settings' default region]")
    yes: bool = flag(_YES)
    no_save: bool = flag("Do not save the block to Parameter Store")
    max_price: Decimal | None = option("Refuse a price above this for the whole block", default=None, parse=amount)
    dry_run: bool = flag(_TRY_PURCHASE)
    anyway: bool = flag("Buy it even if no instance could be launched on it")
    type: str = option("Instance type, if cb.search did not show the offering here [default: the settings' type]")
    duration: int = option(
        "Hours, if cb.search did not show the offering here [default: 24]", default=0, parse=whole_number
    )
    count: int = option(
        "Instances, if cb.search did not show the offering here [default: 1]", default=0, parse=whole_number
    )


@dataclass(frozen=True)
class ExtendOptions:
    """`cb.extend`."""

    reservation_id: str = option(_RESERVATION)
    duration: int = option(
        "Additional hours: 24 to 336 in steps of 24, then to 4368 in steps of 168", default=0, parse=whole_number
    )
    region: str = option(_REGION)
    yes: bool = flag(_YES)
    no_save: bool = flag("Do not save the new end to Parameter Store")
    max_price: Decimal | None = option("Refuse a price above this for the whole extension", default=None, parse=amount)
    dry_run: bool = flag(_TRY_PURCHASE)


@dataclass(frozen=True)
class ListOptions:
    """`cb.list`."""

    region: str = option(_REGION)
    output: str = option(_TABLE_OR_JSON, default="table")


@dataclass(frozen=True)
class DescribeOptions:
    """`cb.describe`."""

    reservation_id: str = option(_RESERVATION)
    region: str = option(_REGION)
    output: str = option(_TABLE_OR_JSON, default="table")


@dataclass(frozen=True)
class CancelOptions:
    """`cb.cancel`."""

    reservation_id: str = option(_RESERVATION)
    region: str = option(_REGION)
    yes: bool = flag(_YES)
    dry_run: bool = flag(_DRY_RUN)


@dataclass(frozen=True)
class SaveOptions:
    """`cb.save-params`."""

    reservation_id: str = option(_RESERVATION)
    subnet_id: str = option("Subnet in the block's zone [default: one with many free addresses]")
    vpc_id: str = option("VPC to find a subnet in [default: the region's default VPC]")
    region: str = option(_REGION)
    dry_run: bool = flag(_DRY_RUN)


@dataclass(frozen=True)
class LoadOptions:
    """`cb.load-params`."""

    region: str = option(_REGION)
    output: str = option("Output format: table, shell (for eval) or json [default: table]", default="table")


@dataclass(frozen=True)
class WaitOptions:
    """`cb.wait`."""

    until: str = option("What to wait for: active, or ending (10 minutes before AWS terminates the instances)")
    reservation_id: str = option(f"{_RESERVATION} [default: the one saved for the region]")
    region: str = option(_REGION)
