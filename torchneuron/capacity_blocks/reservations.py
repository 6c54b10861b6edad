"""Capacity Reservations as EC2 lists them: all of a region, or one by its id.

A Capacity Block is a Capacity Reservation of type `capacity-block`. On-demand reservations are the same resource, so
ids of both kinds are accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from torchneuron.aws.errors import aws_time, reading, utc
from torchneuron.capacity_blocks.rules import reclaimed_before_end
from torchneuron.core.errors import AwsError, NotFoundError
from torchneuron.core.text import duration, price

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import CapacityReservationTypeDef

# States in EC2's spelling and meaning (EC2 API reference, CapacityReservation).
PAYMENT_PENDING: Final = "payment-pending"
GONE = frozenset({"payment-failed", "expired", "cancelled", "cancelling", "failed", "unsupported"})
"""States of a reservation that no longer provides capacity."""
NEVER_PAID = frozenset({"payment-failed", "failed", "unsupported"})
"""States of a block that was never provided, or was released before it was paid."""
_OPEN = frozenset({"active", "unavailable"})
_FINAL = {
    "cancelled": "cancelled",
    "cancelling": "being cancelled: the capacity is released, charges continue until that is done",
    "failed": "failed: nothing was reserved",
    "payment-failed": "payment failed: AWS has released the block, and nothing was paid",
    "unsupported": "AWS could not provide the capacity: nothing was reserved",
}

PRICE_TAG = "torchneuron:upfront-fee"
# Written by earlier versions, which bought offerings that became several reservations with the same tags.
_COVERS_TAG = "torchneuron:upfront-fee-covers"
# While a block is not active its own counts are 0; AWS writes the size into this tag.
_SIZE_TAG = "aws:ec2capacityreservation:incrementalRequestedQuantity"


@dataclass(frozen=True)
class Fee:
    """What was paid upfront, without extensions.

    `covers` is empty when it was paid for one reservation. Otherwise it names everything that was bought in the same
    purchase (`6 instances in 2 segments`); EC2 does not report what each reservation cost.
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
    """A Capacity Reservation as of `seen`. Times are aware, in UTC; without an `end` it is open-ended.

    `owner` is the account it belongs to: another one when it is shared with this account.
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
        """When AWS begins to terminate the instances on it; None for an on-demand reservation."""
        if not self.end or not self.is_block:
            return None
        return self.end - reclaimed_before_end(self.instance_type, ultraserver=self.is_ultraserver)

    @property
    def is_reclaimed(self) -> bool:
        """Whether AWS is terminating the instances on it. It may be active, but nothing can be launched on it."""
        return self.reclaimed is not None and self.seen >= self.reclaimed

    @property
    def is_over(self) -> bool:
        """Whether nothing can run on it any more."""
        return self.state in GONE or self.is_reclaimed

    @property
    def is_open(self) -> bool:
        """Whether it has started and not ended: only then does EC2 count its free capacity."""
        return self.state in _OPEN

    @property
    def fee(self) -> Fee | None:
        """What was paid for it upfront; None when its tags do not say."""
        text, _, currency = self.tags.get(PRICE_TAG, "").partition(" ")
        try:
            amount = Decimal(text)
        except InvalidOperation:
            return None
        return Fee(amount, currency, self.tags.get(_COVERS_TAG, "")) if amount.is_finite() and currency else None

    @property
    def outlook(self) -> str:
        """What happens to it next, counted from `seen`: `starts in 2 d 3 h`."""
        return outlook(self.state, start=self.start, reclaimed=self.reclaimed, end=self.end, now=self.seen)


def list_blocks(ec2: EC2Client, region: str) -> list[Reservation]:
    """Every Capacity Block of the region that AWS still shows, by start."""
    return sorted(
        (reservation for reservation in list_all(ec2, region) if reservation.is_block),
        key=lambda block: (block.start, block.id),
    )


def list_all(ec2: EC2Client, region: str) -> list[Reservation]:
    """Every Capacity Reservation of the region. EC2 has no filter for their type or tags.

    Raises AwsError, also for a response without a list: it does not prove that there are none.
    """
    with reading(f"list the capacity reservations in {region}"):
        return [
            from_aws(raw, region, seen=aws_time(page))
            for page in ec2.get_paginator("describe_capacity_reservations").paginate()
            for raw in page["CapacityReservations"]
        ]


def describe(ec2: EC2Client, region: str, reservation_id: str) -> Reservation:
    """One reservation. Raises NotFoundError when the region has none with this id."""
    try:
        with reading(f"look up {reservation_id}"):
            response = ec2.describe_capacity_reservations(CapacityReservationIds=[reservation_id])
            found = [from_aws(raw, region, seen=aws_time(response)) for raw in response["CapacityReservations"]]
    except AwsError as error:
        if error.code.startswith("InvalidCapacityReservationId"):
            raise _not_found(reservation_id, region, error.why) from error
        raise
    if not found:
        raise _not_found(reservation_id, region)
    return found[0]


def from_aws(raw: CapacityReservationTypeDef, region: str, *, seen: datetime) -> Reservation:
    """The reservation in EC2's shape `raw`; `seen` is the time of the response.

    A block that was paid for must not become unreadable because EC2 left out a member: a missing member is empty here,
    and a missing start is the creation time, else `seen`.
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


def outlook(state: str, *, start: datetime, reclaimed: datetime | None, end: datetime | None, now: datetime) -> str:
    """What happens next to a reservation in `state` (EC2's), counted from `now`. All times are aware.

    `reclaimed` is when AWS begins to terminate instances: None for an on-demand reservation. Without an `end` it is
    open-ended.
    """
    if state in _FINAL:
        return _FINAL[state]
    if state == PAYMENT_PENDING:
        return f"payment pending, {_start(start, now)}"
    if state in ("scheduled", "pending"):
        return _start(start, now)
    if state == "assessing":
        return f"AWS is checking whether it can provide it, {_start(start, now)}"
    if state == "delayed":
        return f"AWS is late: it was due {duration(now - start)} ago" if start <= now else _start(start, now)
    if state == "unavailable":
        then = _start(start, now) if start > now else _end(reclaimed, end, now)
        return f"AWS cannot provide the capacity at the moment, {then}"
    if state == "active":
        return _end(reclaimed, end, now)
    if state == "expired":
        return f"ended {duration(now - end)} ago" if end and end <= now else "ended"
    return state


def _start(start: datetime, now: datetime) -> str:
    return f"starts in {duration(start - now)}" if start > now else "about to start"


def _end(reclaimed: datetime | None, end: datetime | None, now: datetime) -> str:
    if end is None:
        return "until cancelled"
    if reclaimed and now < reclaimed:
        return f"instances are terminated in {duration(reclaimed - now)}"
    if now >= end:
        return "ending"
    left = f"ends in {duration(end - now)}"
    return f"instances are being terminated, {left}" if reclaimed else left


def _is_ultraserver(raw: CapacityReservationTypeDef) -> bool:
    """Whether it is for UltraServers. Only those have a launch status, and some types come only as UltraServers."""
    instance_type = raw.get("InstanceType", "")
    by_type = reclaimed_before_end(instance_type) == reclaimed_before_end(instance_type, ultraserver=True)
    return bool(raw.get("LaunchStatus")) or by_type


def _not_found(reservation_id: str, region: str, why: str = "") -> NotFoundError:
    return NotFoundError(
        f"Capacity reservation {reservation_id} does not exist in {region}.",
        why=why,
        do="List the blocks with invoke cb.list, and check the region (-r).",
    )
