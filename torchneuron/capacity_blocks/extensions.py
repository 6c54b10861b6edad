"""Extensions of a Capacity Block: what is on sale, and what was bought.

An extension starts where its block ends, keeps the reservation's id, and moves the block's end once it is paid.
Source: EC2 user guide, "Extend Capacity Blocks".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from torchneuron.aws.errors import reading, utc

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


PENDING, FAILED = "payment-pending", "payment-failed"
EXTENDED_STATES = ("active", "scheduled")
"""States of a block, in EC2's spelling, in which it can be extended."""


@dataclass(frozen=True)
class ExtensionOffering:
    """More time for one block, on sale: from `start`, which is the block's end, to `end`. Times are aware, in UTC."""

    id: str
    reservation_id: str
    start: datetime
    end: datetime
    hours: int
    fee: Decimal
    currency: str
    instance_type: str = ""


@dataclass(frozen=True)
class Extension:
    """More time for one block, bought. `status` is EC2's: `PENDING`, `FAILED`, or payment-succeeded."""

    offering_id: str
    reservation_id: str
    start: datetime
    end: datetime
    hours: int
    fee: Decimal
    currency: str
    status: str


def on_sale(ec2: EC2Client, reservation_id: str, hours: int) -> list[ExtensionOffering]:
    """The extensions of `hours` that a block can have now, cheapest first. Raises AwsError."""
    with reading(f"look for extensions of {reservation_id}"):
        pages = ec2.get_paginator("describe_capacity_block_extension_offerings").paginate(
            CapacityReservationId=reservation_id, CapacityBlockExtensionDurationHours=hours
        )
        raws = [raw for page in pages for raw in page["CapacityBlockExtensionOfferings"]]
        found = [
            ExtensionOffering(
                id=raw["CapacityBlockExtensionOfferingId"],
                reservation_id=reservation_id,
                start=utc(raw["CapacityBlockExtensionStartDate"]),
                end=utc(raw["CapacityBlockExtensionEndDate"]),
                hours=raw["CapacityBlockExtensionDurationHours"],
                fee=Decimal(raw["UpfrontFee"]),
                currency=raw.get("CurrencyCode", "USD"),
                instance_type=raw.get("InstanceType", ""),
            )
            for raw in raws
        ]
    return sorted(found, key=lambda offering: (offering.fee, offering.id))


def history(ec2: EC2Client, reservation_ids: Sequence[str]) -> list[Extension]:
    """Every extension bought for these blocks, those whose payment failed included, by start. Raises AwsError."""
    with reading("read the history of extensions"):
        pages = ec2.get_paginator("describe_capacity_block_extension_history").paginate(
            CapacityReservationIds=list(reservation_ids)
        )
        found = [bought(raw) for page in pages for raw in page["CapacityBlockExtensions"]]
    return sorted(found, key=lambda extension: (extension.start, extension.offering_id))


def bought(raw: Mapping[str, Any]) -> Extension:
    """EC2's shape of an extension as ours."""
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
