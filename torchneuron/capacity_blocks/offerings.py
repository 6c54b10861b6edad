"""Capacity Block offerings: search for them, and find one again just before it is bought.

No call looks up an offering by id, and a later search may quote the same window under another id. So `find` repeats
the search that showed the offering, and matches by id first, then by window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from torchneuron.aws.errors import reading, utc
from torchneuron.capacity_blocks.once import Clock, utc_now
from torchneuron.capacity_blocks.refusals import NotSoldError, explain_search_error
from torchneuron.capacity_blocks.rules import (
    EARLIEST_START,
    END_TOLERANCE,
    LATEST_START,
    SearchRequest,
    check_count,
    check_duration,
    reclaimed_before_end,
)
from torchneuron.core.errors import AwsError, InputError, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Offering:
    """A block on sale. Times are aware, in UTC; `fee` is for the whole block, paid upfront.

    `duration` is the time paid for. `zone_type` is EC2's name, empty if unknown. `search` is the request that found
    the offering. `unsupported_reason` says why `invoke deploy` cannot use the block; empty if it can.
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
    zone_type: str = ""
    unsupported_reason: str = ""

    @property
    def reclaimed(self) -> datetime:
        """When AWS begins to terminate the instances: the end of the usable time."""
        return self.end - reclaimed_before_end(self.instance_type)

    @property
    def usable(self) -> timedelta:
        """The time paid for, less what AWS takes back at the end."""
        return max(self.duration - reclaimed_before_end(self.instance_type), timedelta(0))

    @property
    def price_per_usable_hour(self) -> Decimal:
        """The fee of the whole block per usable hour; infinite without usable time."""
        return _per_hour(self.fee, self.usable)

    @property
    def price_per_instance_hour(self) -> Decimal:
        """The fee per instance and paid hour, as in AWS's price list."""
        return _per_hour(self.fee, self.count * self.duration)

    @property
    def window(self) -> tuple[str, str, int, datetime, datetime]:
        """What makes two offerings the same to a buyer, whatever their ids."""
        return (self.instance_type, self.zone, self.count, self.start, self.end)


def search(ec2: EC2Client, request: SearchRequest, *, now: Clock = utc_now) -> list[Offering]:
    """The offerings that match `request`, by price per usable hour, then start.

    AWS shows about six. Raises InputError, before any call, for a duration or count that AWS does not sell;
    NotSoldError for a type it does not sell in the region; AwsError if the search fails.
    """
    latest_end = None
    if request.start_before:
        # EC2 filters by latest end only. The cap keeps a far date from overflowing; nothing on sale starts later.
        latest_start = min(request.start_before, now() + LATEST_START)
        latest_end = latest_start + timedelta(hours=request.duration_hours) + END_TOLERANCE
    found = _describe(ec2, request, request.start_after, latest_end, now)
    return in_order([offering for offering in found if _starts_in_time(offering, request)])


def find(
    ec2: EC2Client, offering_id: str, request: SearchRequest, shown: Offering | None = None, *, now: Clock = utc_now
) -> Offering:
    """The offering as AWS quotes it now: the one with this id, else the one with the window of `shown`.

    `shown` is the offering as an earlier search showed it. Raises NotFoundError if neither is on sale.
    """
    earliest, latest_end = request.start_after, None
    if shown and shown.search == request:
        # EC2 shows a few of many offerings, so limit the search to this window. An hour on each side, because EC2
        # does not document whether the limits are inclusive.
        earliest, latest_end = shown.start - _HOUR, shown.end + _HOUR
    try:
        found = in_order(_describe(ec2, request, earliest, latest_end, now))
    except InputError as error:
        if earliest is None or isinstance(error, NotSoldError):
            raise
        # By AWS's clock the start may have passed, although by this machine's it has not.
        found = in_order(_describe(ec2, request, None, latest_end, now))
    for offering in found:
        if offering.id == offering_id:
            return offering
    for offering in found:
        if shown and offering.window == shown.window:
            return offering
    raise NotFoundError(
        f"Offering {offering_id} is not on sale in {request.region}.",
        why=f"Searched {request.count} x {request.instance_type} for {request.duration_hours} hours:"
        f" {len(found)} on sale, none with this id.",
        do="Search again (invoke cb.search). If the id comes from elsewhere, add its --type, --duration and --count.",
    )


def refuse_unsupported(offering: Offering) -> None:
    """Raise InputError if `invoke deploy` cannot use the offering."""
    if offering.unsupported_reason:
        raise InputError(
            f"Offering {offering.id} was not bought: invoke deploy cannot use it.",
            why=offering.unsupported_reason,
            do="Search for instances in one zone, for example with a smaller --count: invoke cb.search",
        )


def in_order(offerings: Sequence[Offering]) -> list[Offering]:
    """`offerings` by price per usable hour, then start, then zone."""
    return sorted(offerings, key=lambda offering: (offering.price_per_usable_hour, offering.start, offering.zone))


def _starts_in_time(offering: Offering, request: SearchRequest) -> bool:
    if request.start_after and offering.start < request.start_after:
        return False
    return not (request.start_before and offering.start > request.start_before)


def _describe(
    ec2: EC2Client, request: SearchRequest, earliest_start: datetime | None, latest_end: datetime | None, now: Clock
) -> list[Offering]:
    check_duration(request.duration_hours)
    check_count(request.count)
    arguments: dict[str, Any] = {
        "InstanceType": request.instance_type,
        "InstanceCount": request.count,
        "CapacityDurationHours": request.duration_hours,
    }
    if request.all_zones:
        arguments["AllAvailabilityZones"] = True
    # EC2 rejects a past date and sells nothing that starts sooner than this; the margin also covers clock skew.
    if earliest_start and earliest_start > now() + EARLIEST_START:
        arguments["StartDateRange"] = earliest_start
    if latest_end:
        arguments["EndDateRange"] = latest_end
    try:
        with reading(f"search for Capacity Blocks in {request.region}"):
            pages = ec2.get_paginator("describe_capacity_block_offerings").paginate(**arguments)
            return [_offering(raw, request) for page in pages for raw in page["CapacityBlockOfferings"]]
    except AwsError as error:
        raise explain_search_error(error, request) from error


def _offering(raw: Mapping[str, Any], request: SearchRequest) -> Offering:
    segments: Sequence[Mapping[str, Any]] = raw.get("CapacityBlockOfferingSegments", [])
    # A value may stand in the segment only.
    values = {**(segments[0] if segments else {}), **{key: value for key, value in raw.items() if value}}
    start, end = utc(values["StartDate"]), utc(values["EndDate"])
    hours, minutes = raw.get("CapacityBlockDurationHours"), raw.get("CapacityBlockDurationMinutes", 0)
    return Offering(
        id=values["CapacityBlockOfferingId"],
        instance_type=values.get("InstanceType", request.instance_type),
        zone=values.get("AvailabilityZone", ""),
        count=values.get("InstanceCount", request.count),
        start=start,
        end=end,
        duration=end - start if hours is None else timedelta(hours=hours, minutes=minutes),
        fee=Decimal(values["UpfrontFee"]),
        currency=values.get("CurrencyCode", "USD"),
        search=request,
        zone_type=values.get("ZoneType", ""),
        unsupported_reason=_unsupported_reason(raw, segments),
    )


def _unsupported_reason(raw: Mapping[str, Any], segments: Sequence[object]) -> str:
    if raw.get("UltraserverType"):
        return "It is for UltraServers; invoke deploy launches instances."
    if len(segments) > 1:
        return "It has several segments, each its own reservation; invoke deploy launches on one reservation."
    return ""


def _per_hour(fee: Decimal, span: timedelta) -> Decimal:
    hours = Decimal(span // timedelta(seconds=1)) / 3600
    return fee / hours if hours else Decimal("Infinity")
