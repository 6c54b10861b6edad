"""Capacity Reservations, Capacity Blocks, their status and extensions in EC2's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rehearsal.aws.ec2.instance_types import zone_id
from rehearsal.market.capacity_blocks import Block
from rehearsal.market.extensions import Extension, ExtensionOffering
from rehearsal.market.on_demand import OnDemandReservation
from rehearsal.market.settings import Health

REQUESTED_QUANTITY = "aws:ec2capacityreservation:incrementalRequestedQuantity"


def reservation_shape(reservation: Block | OnDemandReservation, now: datetime, account: str) -> dict[str, Any]:
    if isinstance(reservation, Block):
        return _block_reservation(reservation, now, account)
    return _on_demand_reservation(reservation, now, account)


def _block_reservation(block: Block, now: datetime, account: str) -> dict[str, Any]:
    offering = block.offering
    return {
        **_reservation(block.reservation_id, offering.region, offering.zone, account),
        "InstanceType": offering.instance_type,
        "InstancePlatform": block.platform,
        "TotalInstanceCount": offering.instance_count,
        "AvailableInstanceCount": block.available(now),
        "State": block.state(now),
        "StartDate": offering.start,
        "EndDate": block.end(now),
        "EndDateType": "limited",
        "InstanceMatchCriteria": "targeted",
        "CreateDate": block.purchased,
        "Tags": _block_tags(block),
        "CapacityAllocations": [{"AllocationType": "used", "Count": len(block.instances)}],
        "ReservationType": "capacity-block",
        "CapacityBlockId": block.block_id,
    }


def _on_demand_reservation(reservation: OnDemandReservation, now: datetime, account: str) -> dict[str, Any]:
    shape = {
        **_reservation(reservation.reservation_id, reservation.region, reservation.zone, account),
        "InstanceType": reservation.instance_type,
        "InstancePlatform": reservation.platform,
        "TotalInstanceCount": reservation.count,
        "AvailableInstanceCount": reservation.available(now),
        "State": reservation.state(now),
        "StartDate": reservation.created,
        "EndDateType": "limited" if reservation.end else "unlimited",
        "InstanceMatchCriteria": reservation.match_criteria,
        "CreateDate": reservation.created,
        "Tags": _tag_list(reservation.tags),
        "CapacityAllocations": [],
        "ReservationType": "default",
    }
    return {**shape, "EndDate": reservation.end} if reservation.end else shape


def block_shape(block: Block, now: datetime) -> dict[str, Any]:
    ultraserver = {"UltraserverType": block.offering.ultraserver_type} if block.offering.ultraserver_type else {}
    return {
        "CapacityBlockId": block.block_id,
        **ultraserver,
        "AvailabilityZone": block.offering.zone,
        "AvailabilityZoneId": zone_id(block.offering.zone),
        "CapacityReservationIds": [block.reservation_id],
        "StartDate": block.offering.start,
        "EndDate": block.end(now),
        "CreateDate": block.purchased,
        "State": block.state(now),
        "Tags": _block_tags(block),
    }


def block_status(block: Block, health: Health, now: datetime) -> dict[str, Any]:
    """The status of a block. Free capacity of an impaired block counts as unavailable (assumed)."""
    total, available = block.offering.instance_count, block.available(now)
    unavailable = available if health == "impaired" else 0
    counts = {
        "TotalCapacity": total,
        "TotalAvailableCapacity": available - unavailable,
        "TotalUnavailableCapacity": unavailable,
    }
    return {
        "CapacityBlockId": block.block_id,
        "InterconnectStatus": health,
        **counts,
        "CapacityReservationStatuses": [{"CapacityReservationId": block.reservation_id, **counts}],
    }


def extension_offering_shape(offering: ExtensionOffering, block: Block) -> dict[str, Any]:
    return {**_extension(offering, block), "StartDate": block.offering.start, "Tenancy": "default"}


def extension_shape(extension: Extension, block: Block, now: datetime) -> dict[str, Any]:
    return {
        **_extension(extension.offering, block),
        "CapacityReservationId": block.reservation_id,
        "CapacityBlockExtensionStatus": extension.status(now),
        "CapacityBlockExtensionPurchaseDate": extension.payment.started,
    }


def _extension(offering: ExtensionOffering, block: Block) -> dict[str, Any]:
    return {
        "CapacityBlockExtensionOfferingId": offering.offering_id,
        "InstanceType": block.offering.instance_type,
        "InstanceCount": block.offering.instance_count,
        "AvailabilityZone": block.offering.zone,
        "AvailabilityZoneId": zone_id(block.offering.zone),
        "CapacityBlockExtensionStartDate": offering.start,
        "CapacityBlockExtensionEndDate": offering.end,
        "CapacityBlockExtensionDurationHours": offering.hours,
        "UpfrontFee": str(offering.upfront_fee),
        "CurrencyCode": "USD",
    }


def _reservation(reservation_id: str, region: str, zone: str, account: str) -> dict[str, Any]:
    """What reservations of both kinds have in common."""
    return {
        "CapacityReservationId": reservation_id,
        "OwnerId": account,
        "CapacityReservationArn": f"arn:aws:ec2:{region}:{account}:capacity-reservation/{reservation_id}",
        "AvailabilityZoneId": zone_id(zone),
        "AvailabilityZone": zone,
        "Tenancy": "default",
        "EbsOptimized": False,
        "EphemeralStorage": False,
    }


def _block_tags(block: Block) -> list[dict[str, str]]:
    return _tag_list({**block.tags, REQUESTED_QUANTITY: str(block.offering.instance_count)})


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
