"""Capacity Blocks on sale: searched for, compared, and read again just before money is spent.

AWS sells blocks by quote: an offering has an id, but no call looks one up by it, and a later search may
quote the same window under another id. So an offering is found again by the search that shows it, by its
id first and then by its window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from torchneuron.aws.errors import reading, utc
from torchneuron.capacity_blocks.once import Clock, utc_now
from torchneuron.capacity_blocks.refusals import NotSoldError, explained
from torchneuron.capacity_blocks.rules import (
    ENDS_APART,
    LATEST_START,
    SOONEST_START,
    check_count,
    check_duration,
    check_ultraserver_count,
    instances_in,
    reclaimed_before_end,
)
from torchneuron.capacity_blocks.search_request import SearchRequest
from torchneuron.core.errors import AwsError, InputError, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Segment:
    """A part of an offering, with a zone and a schedule of its own. Times are aware, in UTC; `fee` is its part."""

    instance_type: str
    zone: str
    count: int
    start: datetime
    end: datetime
    fee: Decimal


@dataclass(frozen=True)
class Offering:
    """A block that can be bought. Times are aware, in UTC; `fee` is for the whole block, all upfront.

    `count` is the number of instances, 0 where AWS does not say (UltraServers). `duration` is what is paid for.
    `segments` is empty unless there are several. `zone_type` is EC2's word, empty where AWS does not say. `search` is
    the request that found it, and finds it again.
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
    ultraserver_count: int = 0
    segments: tuple[Segment, ...] = ()
    zone_type: str = ""

    @property
    def reclaimed(self) -> datetime:
        """When AWS begins to terminate the instances: the end of what can be used."""
        return self.end - self._taken_back

    @property
    def usable(self) -> timedelta:
        """The time paid for, less what AWS takes back at the end (30 minutes; 60 for UltraServers).

        Of segments: what all their instances have of it, by the number of instances; else one that is spread over
        more days would look cheaper.
        """
        usable = self.duration - self._taken_back
        if self.count:
            parts = (part.count * (part.end - part.start - self._taken_back) for part in self.segments)
            usable = sum(parts, timedelta(0)) / self.count or usable
        return max(usable, timedelta(0))

    @property
    def price_per_usable_hour(self) -> Decimal:
        """The fee of the whole block by hours its instances can be used; infinite where there are none."""
        return self.fee / _hours(self.usable) if self.usable else Decimal("Infinity")

    @property
    def price_per_instance_hour(self) -> Decimal | None:
        """The fee by instance and hour paid for, the figure AWS's price list has; None without a `count`."""
        if self.segments:
            paid = sum((part.count * _hours(part.end - part.start) for part in self.segments), Decimal(0))
        else:
            paid = self.count * _hours(self.duration)
        return self.fee / paid if paid else None

    @property
    def window(self) -> tuple[str, str, int, datetime, datetime]:
        """What makes two offerings the same thing to a buyer, whatever their ids."""
        what = self.ultraserver_type or self.instance_type
        return (what, self._place, self.ultraserver_count or self.count, self.start, self.end)

    @property
    def unsupported_reason(self) -> str:
        """Why `invoke deploy` cannot use the block; empty if it can."""
        if self.ultraserver_type:
            return "invoke deploy launches instances, not UltraServers."
        if self.segments:
            return "It has several segments, each its own reservation; invoke deploy launches on one reservation."
        return ""

    @property
    def _place(self) -> str:
        """The zone; of segments, with a digest of what each one is: zones alone don't tell how many are where."""
        if not self.segments:
            return self.zone
        parts = sorted(
            f"{part.instance_type} {part.count} {part.zone} {part.start:%FT%RZ} {part.end:%FT%RZ}"
            for part in self.segments
        )
        return f"{self.zone}@{hashlib.sha256(';'.join(parts).encode()).hexdigest()[:12]}"

    @property
    def _taken_back(self) -> timedelta:
        return reclaimed_before_end(self.instance_type, ultraserver=bool(self.ultraserver_type))


def search(ec2: EC2Client, request: SearchRequest, *, now: Clock = utc_now) -> list[Offering]:
    """The blocks on sale that fit `request`, cheapest usable hour first, then soonest.

    AWS shows about six. Raises InputError, before any call, for a duration or count that is not sold, and for what
    AWS does not sell in the region; AwsError when AWS lets nobody look.
    """
    latest_end = None
    if request.start_before:
        # AWS takes a latest end only. Nothing on sale starts later than that: a far date must not overflow.
        latest_start = min(request.start_before, now() + LATEST_START)
        latest_end = latest_start + timedelta(hours=request.duration_hours) + ENDS_APART
    found = _ask(ec2, request, request.start_after, latest_end, now)
    return in_order([offering for offering in found if _starts_in_time(offering, request)])


def find(
    ec2: EC2Client, offering_id: str, request: SearchRequest, shown: Offering | None = None, *, now: Clock = utc_now
) -> Offering:
    """The offering as AWS quotes it now: the one with this id, else the one with the window of `shown`.

    `shown` is what an earlier search, the same one, showed under this id. Raises NotFoundError when neither is on
    sale.
    """
    earliest, latest_end = request.start_after, None
    if shown and shown.search == request:
        # AWS shows about six of what may be many, so it is asked for this window; not to the second, for nothing
        # says whether the limits themselves are in it.
        earliest, latest_end = shown.start - _HOUR, shown.end + _HOUR
    try:
        found = in_order(_ask(ec2, request, earliest, latest_end, now))
    except InputError as error:
        if earliest is None or isinstance(error, NotSoldError):
            raise
        # By AWS's clock that date may be past, however this machine's stands.
        found = in_order(_ask(ec2, request, None, latest_end, now))
    for offering in found:
        if offering.id == offering_id:
            return offering
    if shown:
        for offering in found:
            if offering.window == shown.window:
                return offering
    raise NotFoundError(
        f"Offering {offering_id} is not on sale in {request.region}.",
        why=f"Looked among blocks of {request.count} x {request.what}"
        f" for {request.duration_hours} hours: {len(found)} on sale, none of them this one.",
        do="Search again (invoke cb.search). For an id that came from elsewhere, say what it is for:"
        " --type, --duration and --count.",
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
    """Cheapest usable hour first, then soonest, then by zone."""
    return sorted(offerings, key=lambda offering: (offering.price_per_usable_hour, offering.start, offering.zone))


def _starts_in_time(offering: Offering, request: SearchRequest) -> bool:
    if request.start_after and offering.start < request.start_after:
        return False
    return not (request.start_before and offering.start > request.start_before)


def _ask(
    ec2: EC2Client, request: SearchRequest, earliest_start: datetime | None, latest_end: datetime | None, now: Clock
) -> list[Offering]:
    check_duration(request.duration_hours)
    arguments: dict[str, Any] = {"CapacityDurationHours": request.duration_hours}
    if request.ultraserver_type:
        check_ultraserver_count(request.count)
        arguments.update(UltraserverType=request.ultraserver_type, UltraserverCount=request.count)
    else:
        check_count(request.count)
        arguments.update(InstanceType=request.instance_type, InstanceCount=request.count)
    if request.all_zones:
        arguments["AllAvailabilityZones"] = True
    # AWS refuses a date that is past, and sells nothing sooner than this anyway: clocks may differ by as much.
    if earliest_start and earliest_start > now() + SOONEST_START:
        arguments["StartDateRange"] = earliest_start
    if latest_end:
        arguments["EndDateRange"] = latest_end
    try:
        with reading(f"search for Capacity Blocks in {request.region}"):
            pages = ec2.get_paginator("describe_capacity_block_offerings").paginate(**arguments)
            return [_offering(raw, request) for page in pages for raw in page["CapacityBlockOfferings"]]
    except AwsError as error:
        raise explained(error, request.what, request.region) from error


def _offering(raw: Mapping[str, Any], request: SearchRequest) -> Offering:
    """EC2's shape of an offering as ours. One made of segments may say some things there only."""
    segments = tuple(_segment(part, raw, request) for part in raw.get("CapacityBlockOfferingSegments", []))
    start = utc(raw["StartDate"]) if "StartDate" in raw else min(part.start for part in segments)
    end = utc(raw["EndDate"]) if "EndDate" in raw else max(part.end for part in segments)
    hours, minutes = raw.get("CapacityBlockDurationHours"), raw.get("CapacityBlockDurationMinutes", 0)
    ultraserver_type = raw.get("UltraserverType", request.ultraserver_type)
    ultraservers = raw.get("UltraserverCount", request.count) if ultraserver_type else 0
    asked_for = ultraservers * instances_in(ultraserver_type) if ultraserver_type else request.count
    zones = dict.fromkeys(part.zone for part in segments)
    return Offering(
        id=raw["CapacityBlockOfferingId"],
        instance_type=raw.get("InstanceType") or (segments[0].instance_type if segments else request.instance_type),
        zone=raw.get("AvailabilityZone") or "+".join(zones),
        count=raw.get("InstanceCount") or sum(part.count for part in segments) or asked_for,
        start=start,
        end=end,
        duration=end - start if hours is None else timedelta(hours=hours, minutes=minutes),
        fee=Decimal(raw["UpfrontFee"]) if "UpfrontFee" in raw else sum((part.fee for part in segments), Decimal(0)),
        currency=raw.get("CurrencyCode", "USD"),
        search=request,
        ultraserver_type=ultraserver_type,
        ultraserver_count=ultraservers,
        segments=segments if len(segments) > 1 else (),
        zone_type=raw.get("ZoneType", ""),
    )


def _segment(raw: Mapping[str, Any], whole: Mapping[str, Any], request: SearchRequest) -> Segment:
    return Segment(
        instance_type=raw.get("InstanceType", request.instance_type),
        zone=raw.get("AvailabilityZone", "?"),
        count=raw.get("InstanceCount", 0),
        start=utc(raw.get("StartDate") or whole["StartDate"]),
        end=utc(raw.get("EndDate") or whole["EndDate"]),
        fee=Decimal(raw.get("UpfrontFee", "0")),
    )


def _hours(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(seconds=1)) / Decimal(_HOUR // timedelta(seconds=1))
