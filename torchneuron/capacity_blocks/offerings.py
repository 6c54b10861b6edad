"""Capacity Blocks on sale: searched for, compared, and read again just before money is spent.

AWS sells blocks by quote: an offering has an id, but no call looks one up by it, and a later search may
quote the same window under another id. So an offering is found again by the search that shows it, by its
id first and then by its window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from torchneuron.aws import calling
from torchneuron.capacity_blocks.rules import check_count, check_duration, reclaimed_before_end
from torchneuron.errors import AwsError, InputError, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class SearchRequest:
    """What is searched for: `count` instances of a type, for `duration_hours` in one go, in one region."""

    instance_type: str
    duration_hours: int
    count: int
    region: str


@dataclass(frozen=True)
class Offering:
    """A block that can be bought. Times are aware, in UTC; `fee` is for the whole block, all upfront.

    `duration` is what is paid for. `search` is the request that found it, and finds it again.
    """

    id: str
    instance_type: str
    zone: str
    count: int
    start: datetime
    end: datetime
    duration: timedelta
    fee: Decimal
    currency: str
    search: SearchRequest
    ultraserver_type: str = ""

    @property
    def reclaimed(self) -> datetime:
        """When AWS begins to terminate the instances: the end of what can be used."""
        return self.end - self._taken_back

    @property
    def usable(self) -> timedelta:
        """The time paid for, less what AWS takes back at the end (30 minutes; 60 for UltraServers)."""
        return self.duration - self._taken_back

    @property
    def price_per_usable_hour(self) -> Decimal:
        """The fee of the whole block by hours its instances can be used."""
        return self.fee / _hours(self.usable)

    @property
    def price_per_instance_hour(self) -> Decimal:
        """The fee by instance and hour paid for: the figure AWS's price list has."""
        return self.fee / self.count / _hours(self.duration)

    @property
    def window(self) -> tuple[str, str, int, datetime, datetime]:
        """What makes two offerings the same thing to a buyer, whatever their ids."""
        return (self.instance_type, self.zone, self.count, self.start, self.end)

    @property
    def _taken_back(self) -> timedelta:
        return reclaimed_before_end(self.instance_type, ultraserver=bool(self.ultraserver_type))


def search(ec2: EC2Client, request: SearchRequest) -> list[Offering]:
    """The blocks on sale that fit `request`, cheapest usable hour first, then soonest.

    Raises InputError, before any call, for a duration or count that is not sold, and for what AWS does not
    sell in the region; AwsError when AWS lets nobody look.
    """
    check_duration(request.duration_hours)
    check_count(request.count)
    pages = ec2.get_paginator("describe_capacity_block_offerings").paginate(
        InstanceType=request.instance_type,
        InstanceCount=request.count,
        CapacityDurationHours=request.duration_hours,
    )
    try:
        with calling(f"search for Capacity Blocks in {request.region}"):
            found = [_offering(raw, request) for page in pages for raw in page["CapacityBlockOfferings"]]
    except AwsError as error:
        raise _explained(error, request) from error
    return sorted(found, key=lambda offering: (offering.price_per_usable_hour, offering.start, offering.zone))


def find(ec2: EC2Client, offering_id: str, request: SearchRequest, shown: Offering | None = None) -> Offering:
    """The offering as AWS quotes it now: the one with this id, else the one with the window of `shown`.

    `shown` is what an earlier search showed under this id. Raises NotFoundError when neither is on sale.
    """
    found = search(ec2, request)
    for offering in found:
        if offering.id == offering_id:
            return offering
    if shown:
        for offering in found:
            if offering.window == shown.window:
                return offering
    raise NotFoundError(
        f"Offering {offering_id} is not on sale in {request.region}.",
        why=f"Looked among blocks of {request.count} x {request.instance_type}"
        f" for {request.duration_hours} hours: {len(found)} on sale, none of them this one.",
        do="Search again (invoke cb.search). For an id that came from elsewhere, say what it is for:"
        " --type, --duration and --count.",
    )


def _offering(raw: Mapping[str, Any], request: SearchRequest) -> Offering:
    """EC2's shape of an offering as ours. One made of segments names its zones there only."""
    segments = raw.get("CapacityBlockOfferingSegments", [])
    return Offering(
        id=raw["CapacityBlockOfferingId"],
        instance_type=raw.get("InstanceType", request.instance_type),
        zone=raw.get("AvailabilityZone") or "+".join(part.get("AvailabilityZone", "?") for part in segments),
        count=raw.get("InstanceCount", request.count),
        start=raw["StartDate"].astimezone(timezone.utc),
        end=raw["EndDate"].astimezone(timezone.utc),
        duration=timedelta(hours=raw["CapacityBlockDurationHours"], minutes=raw.get("CapacityBlockDurationMinutes", 0)),
        fee=Decimal(raw["UpfrontFee"]),
        currency=raw.get("CurrencyCode", "USD"),
        search=request,
        ultraserver_type=raw.get("UltraserverType", ""),
    )


def _explained(error: AwsError, request: SearchRequest) -> AwsError | InputError:
    """What a refused search means. Codes: EC2 API reference, "Error codes"."""
    if error.code == "CapacityBlockDescribeLimitExceeded":
        return AwsError(
            f"AWS lets this account search for Capacity Blocks in {request.region} no further for now.",
            code=error.code,
            why="Either searches came too fast (the limit is a few a minute), or the account's quota for"
            " this family's Capacity Blocks is 0. " + error.why,
            do="Wait a minute and search again. If it stays so, ask for the quota in Service Quotas, under"
            ' EC2: "Concurrent TRN2 Capacity Blocks per account" is L-64569A79.',
        )
    if error.code in ("InvalidParameterValue", "InvalidParameterCombination", "Unsupported"):
        return InputError(
            f"AWS does not sell {request.instance_type} as Capacity Blocks like this in {request.region}.",
            why=error.why,
            do="trn2.3xlarge is sold in sa-east-1 and ap-southeast-4, trn2.48xlarge in us-east-2,"
            " trn1.32xlarge in several regions but not sa-east-1; inf2 is not sold as blocks.",
        )
    return error


def _hours(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(seconds=1)) / Decimal(_HOUR // timedelta(seconds=1))
