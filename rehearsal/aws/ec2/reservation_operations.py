"""EC2's operations on purchased capacity: Capacity Blocks, Capacity Reservations of both kinds, extensions.

Shapes are botocore's service model for EC2; rules and error codes are in `capacity_blocks`, `extensions` and
`on_demand`, with their sources. docs/rehearsal.md lists what is modelled of each operation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime

from moto.core.responses import ActionResult, EmptyResult

from rehearsal.aws.ec2.instance_types import check_offered, out_of_capacity
from rehearsal.aws.ec2.operations import EC2Operations, check_tags
from rehearsal.aws.ec2.reservation_shapes import (
    block_shape,
    block_status,
    extension_offering_shape,
    extension_shape,
    reservation_shape,
)
from rehearsal.errors import AwsError
from rehearsal.market.capacity_blocks import Block
from rehearsal.market.on_demand import OnDemandReservation, ReservationChange

_ID = re.compile("cr-[0-9a-f]{8,17}")
Tags = Mapping[str, str | None]


class ReservationOperations(EC2Operations):
    """Operations on purchased capacity; moto dispatches by method name."""

    def purchase_capacity_block(self) -> ActionResult:
        offering_id = self._get_param("CapacityBlockOfferingId")
        platform = self._get_param("InstancePlatform")
        tags = self._reservation_tags("capacity-reservation", "capacity-block")
        self.world.market.quote(self.region, offering_id)
        self._dry_run()
        blocks = self.world.market.purchase(self.region, offering_id, platform=platform, tags=tags)
        now = self.world.clock.now()
        reservations = [reservation_shape(block, now, self.current_account) for block in blocks]
        return ActionResult(
            {
                "CapacityReservation": reservations[0],
                "CapacityReservations": reservations,
                "CapacityBlocks": [block_shape(block, now) for block in blocks],
            }
        )

    def create_capacity_reservation(self) -> ActionResult:
        instance_type, zone = self._get_param("InstanceType"), self._get_param("AvailabilityZone")
        end = self._timestamp("EndDate")
        if self._get_param("StartDate") or not zone:
            raise NotImplementedError("CreateCapacityReservation with a future date, or without AvailabilityZone")
        check_offered(self.region, zone, instance_type)
        if self.world.market.settings.is_out_of_capacity(instance_type):
            raise out_of_capacity(instance_type, zone)
        _check_end(self._get_param("EndDateType"), end)
        reservation = OnDemandReservation(
            reservation_id=self.world.on_demand.new_id(),
            region=self.region,
            zone=zone,
            instance_type=instance_type,
            platform=self._get_param("InstancePlatform"),
            count=int(self._get_param("InstanceCount")),
            created=self.world.clock.now(),
            end=end,
            match_criteria=self._get_param("InstanceMatchCriteria", "open"),
            tags=self._reservation_tags("capacity-reservation"),
        )
        self._dry_run()
        reservation = self.world.on_demand.add(reservation, self._get_param("ClientToken"))
        shape = reservation_shape(reservation, self.world.clock.now(), self.current_account)
        return ActionResult({"CapacityReservation": shape})

    def modify_capacity_reservation(self) -> ActionResult:
        reservation = self._reservation(self._get_param("CapacityReservationId"))
        now, count = self.world.clock.now(), self._get_param("InstanceCount")
        if isinstance(reservation, Block):
            self._dry_run()
            self.world.market.cancel(self.region, reservation.reservation_id)
        else:
            end_type, end = self._get_param("EndDateType"), self._timestamp("EndDate")
            _check_end(end_type, end)
            self._dry_run()
            change = ReservationChange(
                int(count) if count else None, end_type, end, self._get_param("InstanceMatchCriteria")
            )
            self.world.on_demand.modify(reservation, change, now)
        return ActionResult({"Return": True})

    def cancel_capacity_reservation(self) -> ActionResult:
        reservation = self._reservation(self._get_param("CapacityReservationId"))
        self._dry_run()
        if isinstance(reservation, Block):
            self.world.market.cancel(self.region, reservation.reservation_id)
        else:
            self.world.on_demand.cancel(reservation, self.world.clock.now())
        return ActionResult({"Return": True})

    def get_capacity_reservation_usage(self) -> ActionResult:
        reservation = self._reservation(self._get_param("CapacityReservationId"))
        self._dry_run()
        shape = reservation_shape(reservation, self.world.clock.now(), self.current_account)
        used = len(reservation.instances) if isinstance(reservation, Block) else 0
        names = ("CapacityReservationId", "InstanceType", "TotalInstanceCount", "AvailableInstanceCount", "State")
        usages = [{"AccountId": self.current_account, "UsedInstanceCount": used}]
        return ActionResult({**{name: shape[name] for name in names}, "InstanceUsages": usages})

    def describe_capacity_reservations(self) -> ActionResult:
        self._dry_run()
        now, market, on_demand = self.world.clock.now(), self.world.market, self.world.on_demand
        ids = self._get_param("CapacityReservationIds", [])
        reservations: list[Block | OnDemandReservation] = [self._reservation(reservation_id) for reservation_id in ids]
        reservations = reservations or [*market.blocks(self.region), *on_demand.in_region(self.region)]
        shapes = [reservation_shape(reservation, now, self.current_account) for reservation in reservations]
        return self._paged("CapacityReservations", self._filtered(shapes, _RESERVATION_FILTERS))

    def describe_capacity_blocks(self) -> ActionResult:
        self._dry_run()
        now = self.world.clock.now()
        shapes = [block_shape(block, now) for block in self._blocks()]
        return self._paged("CapacityBlocks", self._filtered(shapes, _BLOCK_FILTERS))

    def describe_capacity_block_status(self) -> ActionResult:
        self._dry_run()
        now, market = self.world.clock.now(), self.world.market
        shapes = [block_status(block, market.health(block), now) for block in self._blocks()]
        return self._paged("CapacityBlockStatuses", self._filtered(shapes, _STATUS_FILTERS))

    def describe_capacity_block_extension_offerings(self) -> ActionResult:
        block, hours = self._block_to_extend(), int(self._get_param("CapacityBlockExtensionDurationHours"))
        offerings = self.world.market.extension_offerings(block, hours)
        self._dry_run()
        shapes = [extension_offering_shape(offering, block) for offering in offerings]
        return self._paged("CapacityBlockExtensionOfferings", shapes)

    def purchase_capacity_block_extension(self) -> ActionResult:
        block, offering_id = self._block_to_extend(), self._get_param("CapacityBlockExtensionOfferingId")
        self.world.market.extension_quote(block, offering_id)
        self._dry_run()
        extension = self.world.market.extend(block, offering_id)
        return ActionResult({"CapacityBlockExtensions": [extension_shape(extension, block, self.world.clock.now())]})

    def describe_capacity_block_extension_history(self) -> ActionResult:
        self._dry_run()
        now, market = self.world.clock.now(), self.world.market
        ids = self._get_param("CapacityReservationIds", [])
        blocks = [market.block(self.region, reservation_id) for reservation_id in ids] or market.blocks(self.region)
        shapes = [
            extension_shape(extension, block, now)
            for block in blocks
            for extension in block.extensions
            if extension.visible_from <= now
        ]
        return self._paged("CapacityBlockExtensions", self._filtered(shapes, _EXTENSION_FILTERS))

    def create_tags(self) -> ActionResult:
        return self._change_tags(_add_tags, check=check_tags) or super().create_tags()

    def delete_tags(self) -> ActionResult:
        return self._change_tags(_remove_tags) or super().delete_tags()

    def _reservation(self, reservation_id: str) -> Block | OnDemandReservation:
        """A reservation of the region; AwsError when it does not exist: EC2 API, "Error codes" (texts assumed)."""
        if not _ID.fullmatch(reservation_id):
            raise AwsError(
                "InvalidCapacityReservationId.Malformed",
                f"The ID '{reservation_id}' for the Capacity Reservation is malformed.",
            )
        on_demand = self.world.on_demand.find(self.region, reservation_id)
        return on_demand or self.world.market.block(self.region, reservation_id)

    def _reservation_tags(self, *taggable: str) -> dict[str, str]:
        tags: dict[str, str] = {}
        for specification in self._get_param("TagSpecifications", []):
            if specification.get("ResourceType") not in taggable:
                raise AwsError(
                    "InvalidParameterValue",
                    f"'{specification.get('ResourceType')}' is not a valid taggable resource type for this operation.",
                )
            tags.update({tag["Key"]: tag.get("Value", "") for tag in specification.get("Tags", [])})
        check_tags(tags, {})
        return tags

    def _blocks(self) -> list[Block]:
        """The blocks with the requested ids, or all of the region; AwsError for an unknown id."""
        blocks = self.world.market.blocks(self.region)
        by_id = {block.block_id: block for block in blocks}
        ids = self._get_param("CapacityBlockIds", [])
        for block_id in ids:
            if block_id not in by_id:
                raise AwsError("InvalidCapacityBlockId.NotFound", f"The capacity block '{block_id}' does not exist")
        return [by_id[block_id] for block_id in ids] or blocks

    def _block_to_extend(self) -> Block:
        return self.world.market.block(self.region, self._get_param("CapacityReservationId"))

    def _change_tags(
        self,
        change: Callable[[dict[str, str], Tags], None],
        check: Callable[[Tags, Mapping[str, str]], None] | None = None,
    ) -> ActionResult | None:
        """Change the tags of the named reservations, once `check` accepts all; None when other resources are named."""
        ids = self._get_param("Resources", [])
        if not ids or not all(resource_id.startswith("cr-") for resource_id in ids):
            return None
        reservations = [self._reservation(reservation_id) for reservation_id in ids]
        tags = {tag["Key"]: tag.get("Value") for tag in self._get_param("Tags", [])}
        for reservation in reservations:
            if check is not None:
                check(tags, reservation.tags)
        self._dry_run()
        for reservation in reservations:
            change(reservation.tags, tags)
        return EmptyResult()


_RESERVATION_FILTERS = {
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
_BLOCK_FILTERS = {
    "capacity-block-id": "CapacityBlockId",
    "ultraserver-type": "UltraserverType",
    "availability-zone": "AvailabilityZone",
    "state": "State",
    "start-date": "StartDate",
    "end-date": "EndDate",
    "create-date": "CreateDate",
}
_STATUS_FILTERS = {"interconnect-status": "InterconnectStatus"}
_EXTENSION_FILTERS = {
    "availability-zone": "AvailabilityZone",
    "availability-zone-id": "AvailabilityZoneId",
    "capacity-block-extension-offering-id": "CapacityBlockExtensionOfferingId",
    "capacity-block-extension-status": "CapacityBlockExtensionStatus",
    "capacity-reservation-id": "CapacityReservationId",
    "instance-type": "InstanceType",
}


def _check_end(end_type: str | None, end: datetime | None) -> None:
    if (end_type == "limited") != (end is not None):
        raise AwsError("InvalidParameterCombination", "EndDateType limited and EndDate must be specified together.")


def _add_tags(tags: dict[str, str], added: Tags) -> None:
    tags.update({key: value or "" for key, value in added.items()})


def _remove_tags(tags: dict[str, str], removed: Tags) -> None:
    """Remove tags by key, and by value where one is given, even if empty; all tags when none is named.

    Tags of AWS's own stay: botocore's model, DeleteTags.Tags.
    """
    for key in [key for key in tags if not key.startswith("aws:")]:
        if not removed or (key in removed and removed[key] in (None, tags[key])):
            del tags[key]
