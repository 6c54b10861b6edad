"""EC2's operations about what was bought: Capacity Blocks, and the Capacity Reservations they come as.

Shapes are botocore's service model for EC2; rules and error codes are `capacity_blocks`, with their sources.
docs/rehearsal.md lists what of each operation is modelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from moto.core.responses import ActionResult, EmptyResult

from rehearsal.capacity_blocks import Block
from rehearsal.ec2_operations import EC2Operations
from rehearsal.errors import AwsError
from rehearsal.instance_types import zone_id

REQUESTED_QUANTITY = "aws:ec2capacityreservation:incrementalRequestedQuantity"


class ReservationOperations(EC2Operations):
    """One method an operation; the names are moto's dispatch rule."""

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


def _without(tags: dict[str, str], pairs: Mapping[str, str]) -> None:
    """DeleteTags: a tag goes when its key is named, and its value too if one is given."""
    for key, value in pairs.items():
        if key in tags and value in ("", tags[key]):
            del tags[key]


def _tags(block: Block) -> list[dict[str, str]]:
    tags = {**block.tags, REQUESTED_QUANTITY: str(block.offering.instance_count)}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


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
