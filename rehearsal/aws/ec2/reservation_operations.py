"""EC2's operations about what was bought: Capacity Blocks, Capacity Reservations of either kind, extensions.

Shapes are botocore's service model for EC2; rules and error codes are `capacity_blocks`, `extensions` and
`on_demand`, with their sources. docs/rehearsal.md lists what of each operation is modelled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from moto.core.responses import ActionResult, EmptyResult

from rehearsal.aws.ec2 import reservation_shapes as shapes
from rehearsal.aws.ec2.instance_types import check_offered, out_of_capacity
from rehearsal.aws.ec2.operations import EC2Operations, check_tags
from rehearsal.errors import AwsError
from rehearsal.market.capacity_blocks import Block
from rehearsal.market.on_demand import Change, OnDemand

_ID = re.compile("cr-[0-9a-f]{8,17}")


class ReservationOperations(EC2Operations):
    """One method an operation; the names are moto's dispatch rule."""

    def purchase_capacity_block(self) -> ActionResult:
        offering_id = self._get_param("CapacityBlockOfferingId")
        platform = self._get_param("InstancePlatform")
        tags = self._reservation_tags("capacity-reservation", "capacity-block")
        self.world.market.quote(self.region, offering_id)
        self._dry_run()
        blocks = self.world.market.purchase(self.region, offering_id, platform=platform, tags=tags)
        now = self.world.clock.now()
        reservations = [shapes.of_block(block, now, self.current_account) for block in blocks]
        return ActionResult(
            {
                "CapacityReservation": reservations[0],
                "CapacityReservations": reservations,
                "CapacityBlocks": [shapes.block_shape(block, now) for block in blocks],
            }
        )

    def create_capacity_reservation(self) -> ActionResult:
        zone, end = self._get_param("AvailabilityZone"), self._instant("EndDate")
        if self._get_param("StartDate") or not zone:
            raise NotImplementedError("CreateCapacityReservation with a future date, or without AvailabilityZone")
        check_offered(self.region, zone, self._get_param("InstanceType"))
        if self.world.market.settings.is_out_of(self._get_param("InstanceType")):
            raise out_of_capacity(self._get_param("InstanceType"), zone)
        _check_end(self._get_param("EndDateType"), end)
        made = OnDemand(
            reservation_id=self.world.on_demand.new_id(),
            region=self.region,
            zone=zone,
            instance_type=self._get_param("InstanceType"),
            platform=self._get_param("InstancePlatform"),
            count=int(self._get_param("InstanceCount")),
            created=self.world.clock.now(),
            end=end,
            match=self._get_param("InstanceMatchCriteria", "open"),
            tags=self._reservation_tags("capacity-reservation"),
        )
        self._dry_run()
        kept = self.world.on_demand.add(made, self._get_param("ClientToken"))
        shape = shapes.of_on_demand(kept, self.world.clock.now(), self.current_account)
        return ActionResult({"CapacityReservation": shape})

    def modify_capacity_reservation(self) -> ActionResult:
        reservation = self._reservation(self._get_param("CapacityReservationId"))
        now, count = self.world.clock.now(), self._get_param("InstanceCount")
        if isinstance(reservation, Block):
            self._dry_run()
            self.world.market.cancel(self.region, reservation.reservation_id)
        else:
            end_type, end = self._get_param("EndDateType"), self._instant("EndDate")
            _check_end(end_type, end)
            self._dry_run()
            change = Change(int(count) if count else None, end_type, end, self._get_param("InstanceMatchCriteria"))
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
        shape = shapes.of(reservation, self.world.clock.now(), self.current_account)
        used = len(reservation.instances) if isinstance(reservation, Block) else 0
        taken = ("CapacityReservationId", "InstanceType", "TotalInstanceCount", "AvailableInstanceCount", "State")
        usages = [{"AccountId": self.current_account, "UsedInstanceCount": used}]
        return ActionResult({**{name: shape[name] for name in taken}, "InstanceUsages": usages})

    def describe_capacity_reservations(self) -> ActionResult:
        self._dry_run()
        now, account, on_demand = self.world.clock.now(), self.current_account, self.world.on_demand
        chosen = [self._reservation(one) for one in self._get_param("CapacityReservationIds", [])]
        chosen = chosen or [*self.world.market.blocks(self.region), *on_demand.in_region(self.region)]
        found = [shapes.of(one, now, account) for one in chosen]
        return self._paged("CapacityReservations", self._filtered(found, RESERVATION_FILTERS))

    def describe_capacity_blocks(self) -> ActionResult:
        self._dry_run()
        now = self.world.clock.now()
        found = [shapes.block_shape(block, now) for block in self._blocks()]
        return self._paged("CapacityBlocks", self._filtered(found, BLOCK_FILTERS))

    def describe_capacity_block_status(self) -> ActionResult:
        self._dry_run()
        now, market = self.world.clock.now(), self.world.market
        found = [shapes.block_status(block, market.health(block), now) for block in self._blocks()]
        return self._paged("CapacityBlockStatuses", self._filtered(found, STATUS_FILTERS))

    def describe_capacity_block_extension_offerings(self) -> ActionResult:
        block, hours = self._extended()
        offerings = self.world.market.extension_offerings(block, hours)
        self._dry_run()
        found = [shapes.extension_offering(one, block) for one in offerings]
        return self._paged("CapacityBlockExtensionOfferings", found)

    def purchase_capacity_block_extension(self) -> ActionResult:
        block, _ = self._extended()
        offering_id = self._get_param("CapacityBlockExtensionOfferingId")
        self.world.market.extension_quote(block, offering_id)
        self._dry_run()
        bought = self.world.market.extend(block, offering_id)
        return ActionResult({"CapacityBlockExtensions": [shapes.extension(bought, block, self.world.clock.now())]})

    def describe_capacity_block_extension_history(self) -> ActionResult:
        self._dry_run()
        now, market = self.world.clock.now(), self.world.market
        wanted = self._get_param("CapacityReservationIds", [])
        blocks = [market.block(self.region, one) for one in wanted] or market.blocks(self.region)
        found = [shapes.extension(one, block, now) for block in blocks for one in block.extensions if one.shown <= now]
        return self._paged("CapacityBlockExtensions", self._filtered(found, EXTENSION_FILTERS))

    def create_tags(self) -> ActionResult:
        return self._tag_reservations(_with, check_tags) or super().create_tags()

    def delete_tags(self) -> ActionResult:
        return self._tag_reservations(_without, lambda pairs, tags: None) or super().delete_tags()

    def _reservation(self, reservation_id: str) -> Block | OnDemand:
        """The region's one of that id. AwsError when there is none: EC2 API, "Error codes" (texts assumed)."""
        if not _ID.fullmatch(reservation_id):
            raise AwsError(
                "InvalidCapacityReservationId.Malformed",
                f"The ID '{reservation_id}' for the Capacity Reservation is malformed.",
            )
        made = self.world.on_demand.find(self.region, reservation_id)
        return made or self.world.market.block(self.region, reservation_id)

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
        """The region's blocks, or those of the ids asked for; AwsError for one that is not there."""
        blocks = self.world.market.blocks(self.region)
        wanted = self._get_param("CapacityBlockIds", [])
        by_id = {block.block_id: block for block in blocks}
        for one in wanted:
            if one not in by_id:
                raise AwsError("InvalidCapacityBlockId.NotFound", f"The capacity block '{one}' does not exist")
        return [by_id[one] for one in wanted] or blocks

    def _extended(self) -> tuple[Block, int]:
        """The block an extension is about, and the hours asked for, if the operation asks for any."""
        block = self.world.market.block(self.region, self._get_param("CapacityReservationId"))
        return block, int(self._get_param("CapacityBlockExtensionDurationHours", 0))

    def _tag_reservations(self, change: Any, check: Any) -> ActionResult | None:
        """Apply a change of tags to the reservations named, once checked for all; None when others are named."""
        ids = self._get_param("Resources", [])
        if not ids or not all(one.startswith("cr-") for one in ids):
            return None
        reservations = [self._reservation(one) for one in ids]
        pairs = {tag["Key"]: tag.get("Value") for tag in self._get_param("Tags", [])}
        for one in reservations:
            check(pairs, one.tags)
        self._dry_run()
        for one in reservations:
            change(one.tags, pairs)
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
    "ultraserver-type": "UltraserverType",
    "availability-zone": "AvailabilityZone",
    "state": "State",
    "start-date": "StartDate",
    "end-date": "EndDate",
    "create-date": "CreateDate",
}
STATUS_FILTERS = {"interconnect-status": "InterconnectStatus"}
EXTENSION_FILTERS = {
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


def _with(tags: dict[str, str], pairs: Mapping[str, str | None]) -> None:
    tags.update({key: value or "" for key, value in pairs.items()})


def _without(tags: dict[str, str], pairs: Mapping[str, str | None]) -> None:
    """A tag goes when its key is named, and its value too if one is given, be it empty; all go when none is named.

    AWS's own stay: botocore's model, DeleteTags.Tags.
    """
    own = [key for key in tags if not key.startswith("aws:")]
    for key in own:
        if not pairs or (key in pairs and pairs[key] in (None, tags[key])):
            del tags[key]
