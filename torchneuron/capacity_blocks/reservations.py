"""The blocks that were bought, as EC2 lists them: all of a region, or one by its id.

A Capacity Block is a Capacity Reservation of type `capacity-block`; on-demand reservations are the same
resource, so ids of both kinds are understood here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from torchneuron.aws.errors import aws_time, reading, utc
from torchneuron.capacity_blocks import countdown
from torchneuron.capacity_blocks.rules import reclaimed_before_end
from torchneuron.core.errors import AwsError, NotFoundError
from torchneuron.core.text import price

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import CapacityReservationTypeDef

GONE = frozenset({"payment-failed", "expired", "cancelled", "cancelling", "failed", "unsupported"})
"""States of a reservation that gives nobody capacity any more, in EC2's spelling."""

NEVER_PAID = frozenset({"payment-failed", "failed", "unsupported"})
"""States of a block that was never given, or taken back before it was paid."""

_OPEN = frozenset({"active", "unavailable"})

PRICE_TAG = "torchneuron:upfront-fee"
COVERS_TAG = "torchneuron:upfront-fee-covers"
"""What a purchase cost, and, of one that made several reservations, what all it bought: they have the same tags."""

# While a block is not active its own counts are 0; AWS writes the size into this tag.
_SIZE_TAG = "aws:ec2capacityreservation:incrementalRequestedQuantity"


@dataclass(frozen=True)
class Fee:
    """What was paid upfront, without extensions.

    `covers` is empty where it was paid for one reservation alone. Else it says what was bought with that money in one
    purchase (`6 instances in 2 segments`), of which the reservation is a part; EC2 does not say what each part cost.
    """

    amount: Decimal
    currency: str
    covers: str = ""

    def __str__(self) -> str:
        """`1,234.50 USD`, or `1,234.50 USD for 2 UltraServers bought together`."""
        amount = price(self.amount, self.currency)
        return f"{amount} for {self.covers} bought together" if self.covers else amount


@dataclass(frozen=True)
class Reservation:
    """A Capacity Reservation as AWS had it at `seen`. Times are aware, in UTC; no `end` means open-ended.

    `owner` is the account it belongs to, which is another one where it is shared with this account.
    """

    id: str
    region: str
    instance_type: str
    zone: str
    platform: str
    state: str
    count: int
    available: int
    start: datetime
    end: datetime | None
    is_block: bool
    tags: Mapping[str, str]
    seen: datetime
    is_ultraserver: bool = False
    block_id: str = ""
    arn: str = ""
    owner: str = ""
    zone_id: str = ""
    created: datetime | None = None

    @property
    def reclaimed(self) -> datetime | None:
        """When AWS begins to terminate the instances on it; None for what is not a Capacity Block."""
        if not self.end or not self.is_block:
            return None
        return self.end - reclaimed_before_end(self.instance_type, ultraserver=self.is_ultraserver)

    @property
    def is_reclaimed(self) -> bool:
        """Whether AWS takes the instances on it back already: it may be active, and nobody can begin to use it."""
        return self.reclaimed is not None and self.seen >= self.reclaimed

    @property
    def is_over(self) -> bool:
        """Whether nothing can run on it any more."""
        return self.state in GONE or self.is_reclaimed

    @property
    def is_open(self) -> bool:
        """Whether it has started and not ended: only then does EC2 count what is free."""
        return self.state in _OPEN

    @property
    def fee(self) -> Fee | None:
        """What was paid for it upfront; None where our tags do not say."""
        text, _, currency = self.tags.get(PRICE_TAG, "").partition(" ")
        try:
            amount = Decimal(text)
        except InvalidOperation:
            return None
        return Fee(amount, currency, self.tags.get(COVERS_TAG, "")) if amount.is_finite() and currency else None

    @property
    def outlook(self) -> str:
        """What comes next, with a countdown from when AWS was asked."""
        return countdown.describe(self.state, start=self.start, reclaimed=self.reclaimed, end=self.end, now=self.seen)


def list_blocks(ec2: EC2Client, region: str) -> list[Reservation]:
    """Every Capacity Block of the region that AWS still shows, by start."""
    return sorted(
        (found for found in list_all(ec2, region) if found.is_block),
        key=lambda block: (block.start, block.id),
    )


def list_all(ec2: EC2Client, region: str) -> list[Reservation]:
    """Every Capacity Reservation of the region: EC2 has no filter for their type or their tags.

    Raises AwsError for an answer without a list, too: it does not say that there are none.
    """
    with reading(f"list the capacity reservations in {region}"):
        return [
            from_aws(raw, region, seen=aws_time(page))
            for page in ec2.get_paginator("describe_capacity_reservations").paginate()
            for raw in page["CapacityReservations"]
        ]


def describe(ec2: EC2Client, region: str, reservation_id: str) -> Reservation:
    """One reservation. Raises NotFoundError when there is none with this id in the region."""
    try:
        with reading(f"look up {reservation_id}"):
            answer = ec2.describe_capacity_reservations(CapacityReservationIds=[reservation_id])
            found = [from_aws(raw, region, seen=aws_time(answer)) for raw in answer["CapacityReservations"]]
    except AwsError as error:
        if error.code.startswith("InvalidCapacityReservationId"):
            raise _not_found(reservation_id, region, error.why) from error
        raise
    if not found:
        raise _not_found(reservation_id, region)
    return found[0]


def from_aws(raw: CapacityReservationTypeDef, region: str, *, seen: datetime) -> Reservation:
    """EC2's shape of a reservation as ours; `seen` is when EC2 gave it.

    Lenient: a block that was paid for must not become unreadable because EC2 left out a member. What is left out
    is empty here, and a start that is left out is when it was created, else when it was seen.
    """
    tags = {tag.get("Key", ""): tag.get("Value", "") for tag in raw.get("Tags") or []}
    size = tags.get(_SIZE_TAG, "")
    total = raw.get("TotalInstanceCount", 0)
    return Reservation(
        id=raw.get("CapacityReservationId", ""),
        region=region,
        instance_type=raw.get("InstanceType", ""),
        zone=raw.get("AvailabilityZone", ""),
        platform=raw.get("InstancePlatform", ""),
        state=raw.get("State", ""),
        count=total or (int(size) if size.isdigit() else 0),
        available=raw.get("AvailableInstanceCount", 0),
        start=utc(raw.get("StartDate") or raw.get("CreateDate") or seen),
        end=utc(raw["EndDate"]) if raw.get("EndDate") else None,
        is_block=raw.get("ReservationType") == "capacity-block",
        tags=tags,
        seen=seen,
        is_ultraserver=_is_ultraserver(raw),
        block_id=raw.get("CapacityBlockId", ""),
        arn=raw.get("CapacityReservationArn", ""),
        owner=raw.get("OwnerId", ""),
        zone_id=raw.get("AvailabilityZoneId", ""),
        created=utc(raw["CreateDate"]) if raw.get("CreateDate") else None,
    )


def _is_ultraserver(raw: CapacityReservationTypeDef) -> bool:
    """EC2 gives a launch status to what is for UltraServers only; the rules know the types that only come as one."""
    instance_type = raw.get("InstanceType", "")
    by_type = reclaimed_before_end(instance_type) == reclaimed_before_end(instance_type, ultraserver=True)
    return bool(raw.get("LaunchStatus")) or by_type


def _not_found(reservation_id: str, region: str, why: str = "") -> NotFoundError:
    return NotFoundError(
        f"There is no capacity reservation {reservation_id} in {region}.",
        why=why,
        do="See what there is with invoke cb.list, and check the region (-r).",
    )
