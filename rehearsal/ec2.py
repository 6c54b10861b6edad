"""EC2's Capacity Block and Capacity Reservation operations, which moto lacks.

Shapes are botocore's service model for EC2; rules and error codes are `offerings` and `capacity_blocks`, with
their sources. docs/rehearsal.md lists what of each operation is modelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

from rehearsal.answers import RehearsalResponse, matches, page
from rehearsal.capacity_blocks import Block
from rehearsal.errors import AwsError
from rehearsal.instance_types import is_offered, zone_id
from rehearsal.launches import LaunchResponse
from rehearsal.offerings import Offering, Query

PAGE = 1000
REQUESTED_QUANTITY = "aws:ec2capacityreservation:incrementalRequestedQuantity"


class CapacityBlockResponse(RehearsalResponse, EC2Response):  # type: ignore[misc] # moto has no types
    """One method an operation; the names are moto's dispatch rule."""

    def describe_capacity_block_offerings(self) -> ActionResult:
        if self._get_param("UltraserverType"):
            # What an account without UltraServer access is told; the code was not seen, EC2's usual one stands in.
            raise AwsError(
                "UnauthorizedOperation",
                "This AWS Account is not authorized to call DescribeCapacityBlockOfferings API when requesting "
                "an EC2 UltraServer",
            )
        query = Query(
            region=self.region,
            instance_types=self._instance_types(),
            instance_count=self._get_int_param("InstanceCount", 1),
            duration_hours=int(self._get_param("CapacityDurationHours")),
            starts_after=self._instant("StartDateRange"),
            ends_before=self._instant("EndDateRange"),
        )
        found = self.world.market.offerings(query)
        self._dry_run()
        return self._paged("CapacityBlockOfferings", [_offering(one) for one in found])

    def purchase_capacity_block(self) -> ActionResult:
        offering_id = self._get_param("CapacityBlockOfferingId")
        platform = self._get_param("InstancePlatform")
        tags = self._reservation_tags()
        self.world.market.quote(self.region, offering_id)
        self._dry_run()
        block = self.world.market.purchase(self.region, offering_id, platform=platform, tags=tags)
        now = self.world.clock.now()
        return ActionResult(
            {
                "CapacityReservation": _reservation(block, now, self.current_account),
                "CapacityBlocks": [_block(block, now)],
            }
        )

    def describe_capacity_reservations(self) -> ActionResult:
        self._dry_run()
        now = self.world.clock.now()
        found = [_reservation(block, now, self.current_account) for block in self._chosen("CapacityReservationIds")]
        return self._paged("CapacityReservations", self._filtered(found, RESERVATION_FILTERS))

    def describe_capacity_blocks(self) -> ActionResult:
        self._dry_run()
        now = self.world.clock.now()
        found = [_block(block, now) for block in self._chosen("CapacityBlockIds")]
        return self._paged("CapacityBlocks", self._filtered(found, BLOCK_FILTERS))

    def describe_capacity_block_status(self) -> ActionResult:
        self._dry_run()
        now = self.world.clock.now()
        found = [_status(block, now) for block in self._chosen("CapacityBlockIds")]
        return self._paged("CapacityBlockStatuses", self._filtered(found, STATUS_FILTERS))

    def cancel_capacity_reservation(self) -> ActionResult:
        reservation_id = self._get_param("CapacityReservationId")
        self.world.market.block(self.region, reservation_id)
        self._dry_run()
        self.world.market.cancel(self.region, reservation_id)
        return ActionResult({"Return": True})

    def create_tags(self) -> ActionResult:
        return self._tag_reservations(lambda tags, pairs: tags.update(pairs)) or super().create_tags()

    def delete_tags(self) -> ActionResult:
        return self._tag_reservations(_without) or super().delete_tags()

    def describe_instance_type_offerings(self) -> ActionResult:
        listed = super().describe_instance_type_offerings().result["InstanceTypeOfferings"]
        return ActionResult({"InstanceTypeOfferings": [one for one in listed if is_offered(one)]})

    def _dry_run(self) -> None:
        if self._get_param("DryRun"):
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")

    def _instant(self, parameter: str) -> datetime | None:
        """moto parses instants into UTC and drops the zone."""
        found: datetime | None = self._get_param(parameter)
        return None if found is None else found.replace(tzinfo=timezone.utc)

    def _instance_types(self) -> tuple[str, ...]:
        one = self._get_param("InstanceType")
        several = [each["InstanceType"] for each in self._get_param("InstanceTypePreferences", [])]
        if one and several:
            raise AwsError(
                "InvalidParameterCombination",
                "The parameter InstanceType cannot be used with the parameter InstanceTypePreferences",
            )
        return (one,) if one else tuple(several)

    def _reservation_tags(self) -> dict[str, str]:
        tags: dict[str, str] = {}
        for specification in self._get_param("TagSpecifications", []):
            if specification.get("ResourceType") not in ("capacity-reservation", "capacity-block"):
                raise AwsError(
                    "InvalidParameterValue",
                    f"'{specification.get('ResourceType')}' is not a valid taggable resource type for this operation.",
                )
            tags.update({tag["Key"]: tag.get("Value", "") for tag in specification.get("Tags", [])})
        return tags

    def _chosen(self, parameter: str) -> list[Block]:
        """The region's blocks, or those of the ids in `parameter`; AwsError for one that is not there."""
        blocks = self.world.market.blocks(self.region)
        wanted = self._get_param(parameter, [])
        if parameter == "CapacityReservationIds":
            return [self.world.market.block(self.region, one) for one in wanted] or blocks
        by_id = {block.block_id: block for block in blocks}
        for one in wanted:
            if one not in by_id:
                raise AwsError("InvalidCapacityBlockId.NotFound", f"The capacity block '{one}' does not exist")
        return [by_id[one] for one in wanted] or blocks

    def _filtered(self, found: list[dict[str, Any]], known: Mapping[str, str]) -> list[dict[str, Any]]:
        for each in self._get_param("Filters", []):
            name, values = each["Name"], each.get("Values", [])
            found = [one for one in found if matches(_filter_value(one, name, known), values)]
            if not found:
                _filter_value({}, name, known)
        return found

    def _paged(self, key: str, found: Sequence[dict[str, Any]]) -> ActionResult:
        size = self._get_int_param("MaxResults", PAGE)
        shown, token = page(found, size, self._get_param("NextToken"), bad_token="InvalidNextToken")
        return ActionResult({key: shown, "NextToken": token})

    def _tag_reservations(self, change: Any) -> ActionResult | None:
        """Apply a change of tags to the reservations named; None when the request is about other resources."""
        ids = self._get_param("Resources", [])
        if not ids or not all(one.startswith("cr-") for one in ids):
            return None
        blocks = [self.world.market.block(self.region, one) for one in ids]
        self._dry_run()
        pairs = {tag["Key"]: tag.get("Value", "") for tag in self._get_param("Tags", [])}
        for block in blocks:
            change(block.tags, pairs)
        return EmptyResult()


class RehearsalEC2(CapacityBlockResponse, LaunchResponse, EC2Response):  # type: ignore[misc] # moto has no types
    """EC2 as the rehearsal serves it."""

    refusal = EC2ClientError


RESERVATION_FILTERS = {
    "instance-type": "InstanceType",
    "owner-id": "OwnerId",
    "instance-platform": "InstancePlatform",
    "availability-zone": "AvailabilityZone",
    "availability-zone-id": "AvailabilityZoneId",
    "tenancy": "Tenancy",
    "state": "State",
    "start-date": "StartDate",
    "end-date": "EndDate",
    "end-date-type": "EndDateType",
    "instance-match-criteria": "InstanceMatchCriteria",
    "reservation-type": "ReservationType",
    "capacity-block-id": "CapacityBlockId",
}
BLOCK_FILTERS = {
    "capacity-block-id": "CapacityBlockId",
    "availability-zone": "AvailabilityZone",
    "state": "State",
    "start-date": "StartDate",
    "end-date": "EndDate",
    "create-date": "CreateDate",
}
STATUS_FILTERS = {"interconnect-status": "InterconnectStatus"}


def _filter_value(item: Mapping[str, Any], name: str, known: Mapping[str, str]) -> str | list[str]:
    """What a filter compares; AwsError for a filter the operation doesn't have."""
    tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}
    if name.startswith("tag:"):
        tag = tags.get(name.removeprefix("tag:"))
        return [] if tag is None else tag
    if name == "tag-key":
        return list(tags)
    if name not in known:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    value = item.get(known[name], "")
    return f"{value:%Y-%m-%dT%H:%M:%S.000Z}" if isinstance(value, datetime) else str(value)


def _without(tags: dict[str, str], pairs: Mapping[str, str]) -> None:
    """DeleteTags: a tag goes when its key is named, and its value too if one is given."""
    for key, value in pairs.items():
        if key in tags and value in ("", tags[key]):
            del tags[key]


def _tags(block: Block) -> list[dict[str, str]]:
    tags = {**block.tags, REQUESTED_QUANTITY: str(block.offering.instance_count)}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _offering(offering: Offering) -> dict[str, Any]:
    hours, rest = divmod(int(offering.duration.total_seconds()), 3600)
    return {
        "CapacityBlockOfferingId": offering.offering_id,
        "InstanceType": offering.instance_type,
        "AvailabilityZone": offering.zone,
        "InstanceCount": offering.instance_count,
        "StartDate": offering.start,
        "EndDate": offering.end,
        "CapacityBlockDurationHours": hours,
        "CapacityBlockDurationMinutes": rest // 60,
        "UpfrontFee": str(offering.upfront_fee),
        "CurrencyCode": "USD",
        "Tenancy": "default",
    }


def _reservation(block: Block, now: datetime, account: str) -> dict[str, Any]:
    offering = block.offering
    arn = f"arn:aws:ec2:{offering.region}:{account}:capacity-reservation/{block.reservation_id}"
    return {
        "CapacityReservationId": block.reservation_id,
        "OwnerId": account,
        "CapacityReservationArn": arn,
        "AvailabilityZoneId": zone_id(offering.zone),
        "InstanceType": offering.instance_type,
        "InstancePlatform": block.platform,
        "AvailabilityZone": offering.zone,
        "Tenancy": "default",
        "TotalInstanceCount": offering.instance_count,
        "AvailableInstanceCount": block.available(now),
        "EbsOptimized": False,
        "EphemeralStorage": False,
        "State": block.state(now),
        "StartDate": offering.start,
        "EndDate": offering.end,
        "EndDateType": "limited",
        "InstanceMatchCriteria": "targeted",
        "CreateDate": block.bought,
        "Tags": _tags(block),
        "CapacityAllocations": [{"AllocationType": "used", "Count": len(block.instances)}],
        "ReservationType": "capacity-block",
        "CapacityBlockId": block.block_id,
    }


def _block(block: Block, now: datetime) -> dict[str, Any]:
    return {
        "CapacityBlockId": block.block_id,
        "AvailabilityZone": block.offering.zone,
        "AvailabilityZoneId": zone_id(block.offering.zone),
        "CapacityReservationIds": [block.reservation_id],
        "StartDate": block.offering.start,
        "EndDate": block.offering.end,
        "CreateDate": block.bought,
        "State": block.state(now),
        "Tags": _tags(block),
    }


def _status(block: Block, now: datetime) -> dict[str, Any]:
    counts = {
        "TotalCapacity": block.offering.instance_count,
        "TotalAvailableCapacity": block.available(now),
        "TotalUnavailableCapacity": 0,
    }
    return {
        "CapacityBlockId": block.block_id,
        "InterconnectStatus": "ok",
        **counts,
        "CapacityReservationStatuses": [{"CapacityReservationId": block.reservation_id, **counts}],
    }
