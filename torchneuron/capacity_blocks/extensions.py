"""Extensions of a Capacity Block: those on sale, and those bought.

An extension starts at its block's end and keeps the reservation's id. It moves the block's end once it is paid.
Source: EC2 user guide, "Extend Capacity Blocks".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from torchneuron.aws.errors import reading, utc
from torchneuron.capacity_blocks.reservations import Reservation

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


PENDING, FAILED = "payment-pending", "payment-failed"
EXTENDABLE_STATES = ("active", "scheduled")
"""EC2's states of a block that can be extended."""


@dataclass(frozen=True)
class ExtensionOffering:
    """An extension on sale: from `start`, which is the block's end, to `end`. Times are aware, in UTC."""

    id: str
    block: Reservation
    start: datetime
    end: datetime
    hours: int
    fee: Decimal
    currency: str


@dataclass(frozen=True)
class Extension:
    """An extension that was bought. `status` is EC2's: `PENDING`, `FAILED`, or payment-succeeded."""

    offering_id: str
    reservation_id: str
    start: datetime
    end: datetime
    hours: int
    fee: Decimal
    currency: str
    status: str


def on_sale(ec2: EC2Client, block: Reservation, hours: int) -> list[ExtensionOffering]:
    """The extensions of `block` by `hours` that are on sale, cheapest first. Raises AwsError."""
    with reading(f"look for extensions of {block.id}"):
        pages = ec2.get_paginator("describe_capacity_block_extension_offerings").paginate(
            CapacityReservationId=block.id, CapacityBlockExtensionDurationHours=hours
        )
        found = [
            ExtensionOffering(
                id=raw["CapacityBlockExtensionOfferingId"],
                block=block,
                start=utc(raw["CapacityBlockExtensionStartDate"]),
                end=utc(raw["CapacityBlockExtensionEndDate"]),
                hours=raw["CapacityBlockExtensionDurationHours"],
                fee=Decimal(raw["UpfrontFee"]),
                currency=raw.get("CurrencyCode", "USD"),
            )
            for page in pages
            for raw in page["CapacityBlockExtensionOfferings"]
        ]
    return sorted(found, key=lambda offering: (offering.fee, offering.id))


def history(ec2: EC2Client, reservation_ids: Sequence[str]) -> list[Extension]:
    """Every extension bought for these blocks, including failed payments, by start. Raises AwsError."""
    with reading("read the history of extensions"):
        pages = ec2.get_paginator("describe_capacity_block_extension_history").paginate(
            CapacityReservationIds=list(reservation_ids)
        )
        found = [from_aws(raw) for page in pages for raw in page["CapacityBlockExtensions"]]
    return sorted(found, key=lambda extension: (extension.start, extension.offering_id))


def from_aws(raw: Mapping[str, Any]) -> Extension:
    """The extension in EC2's shape `raw`."""
    return Extension(
        offering_id=raw["CapacityBlockExtensionOfferingId"],
        reservation_id=raw["CapacityReservationId"],
        start=utc(raw["CapacityBlockExtensionStartDate"]),
        end=utc(raw["CapacityBlockExtensionEndDate"]),
        hours=raw["CapacityBlockExtensionDurationHours"],
        fee=Decimal(raw.get("UpfrontFee", "0")),
        currency=raw.get("CurrencyCode", "USD"),
        status=raw.get("CapacityBlockExtensionStatus", ""),
    )
