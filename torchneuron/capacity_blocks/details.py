"""A reservation with the data EC2 keeps elsewhere: its instances, its health, its extensions.

The reservation is useful without them. When one of them cannot be read, because a permission is missing or AWS refuses,
the result says so and the command does not fail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from torchneuron.aws.ec2 import Instance, find_instances
from torchneuron.aws.errors import reading
from torchneuron.capacity_blocks import extensions, reservations
from torchneuron.capacity_blocks.extensions import EXTENDABLE_STATES, Extension
from torchneuron.capacity_blocks.reservations import GONE, Reservation
from torchneuron.capacity_blocks.rules import extension_window
from torchneuron.core.errors import AwsError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

T = TypeVar("T")


@dataclass(frozen=True)
class Unreadable:
    """Stands for data that could not be read. `why` completes "not readable: "."""

    why: str

    def __str__(self) -> str:
        return f"not readable: {self.why}"


@dataclass(frozen=True)
class Health:
    """A block's health. `interconnect` is `ok`, `impaired` or `insufficient-data`; capacity is in instances.

    `unavailable` instances fail a system status check. Source: EC2 API reference, DescribeCapacityBlockStatus.
    """

    interconnect: str
    total: int
    available: int
    unavailable: int


@dataclass(frozen=True)
class Details:
    """A reservation with its instances, health and extensions; the last two are None when they do not apply."""

    reservation: Reservation
    instances: tuple[Instance, ...] | Unreadable
    health: Health | Unreadable | None
    extensions: tuple[Extension, ...] | Unreadable | None = None

    @property
    def extension_window(self) -> tuple[datetime, datetime] | None:
        """When AWS sells extensions of it (from, until; in UTC); None when its state or kind rules them out."""
        block = self.reservation
        is_extendable = block.is_block and block.state in EXTENDABLE_STATES
        return extension_window(block.end) if is_extendable and block.end else None


def list_blocks(ec2: EC2Client, region: str) -> list[Details]:
    """Every Capacity Block of the region, by start, without extensions. Makes one call for each kind of data.

    Raises AwsError and AccessError when the reservations themselves cannot be read.
    """
    blocks = reservations.list_blocks(ec2, region)
    ids = [block.id for block in blocks if block.state not in GONE]
    instances = _or_unreadable(lambda: _instances(ec2, ids)) if ids else {}
    health = _or_unreadable(lambda: _health(ec2)) if ids else {}
    return [_join(block, instances, health) for block in blocks]


def describe(ec2: EC2Client, region: str, reservation_id: str) -> Details:
    """One reservation of either kind, with its extensions.

    Raises NotFoundError when the region has none with this id, AwsError and AccessError when it cannot be read.
    """
    reservation = reservations.describe(ec2, region, reservation_id)
    if reservation.is_block and reservation.state in GONE:
        return _join(reservation, {}, {}, extensions_of(ec2, reservation))
    instances = _or_unreadable(lambda: _instances(ec2, [reservation.id]))
    if not reservation.is_block:
        return _join(reservation, instances, {})
    health = _or_unreadable(lambda: _health(ec2, reservation.block_id))
    return _join(reservation, instances, health, extensions_of(ec2, reservation))


def extensions_of(ec2: EC2Client, block: Reservation) -> tuple[Extension, ...] | Unreadable:
    """The extensions bought for a block, by start."""
    return _or_unreadable(lambda: tuple(extensions.history(ec2, [block.id])))


def _join(
    reservation: Reservation,
    instances: Mapping[str, Sequence[Instance]] | Unreadable,
    health: Mapping[str, Health] | Unreadable,
    bought: tuple[Extension, ...] | Unreadable | None = None,
) -> Details:
    if reservation.state in GONE and reservation.is_block:
        # Nothing runs on it and it has no health, even when those of other blocks could not be read.
        return Details(reservation, (), None, bought)
    return Details(
        reservation,
        instances if isinstance(instances, Unreadable) else tuple(instances.get(reservation.id, ())),
        health if isinstance(health, Unreadable) else health.get(reservation.id),
        bought,
    )


def _instances(ec2: EC2Client, reservation_ids: Sequence[str]) -> dict[str, list[Instance]]:
    """The instances on these reservations by reservation, sorted by id, without terminated ones."""
    found: defaultdict[str, list[Instance]] = defaultdict(list)
    for instance in find_instances(ec2, {"capacity-reservation-id": reservation_ids}):
        if instance.state != "terminated":
            found[instance.reservation_id].append(instance)
    return {
        reservation_id: sorted(group, key=lambda instance: instance.instance_id)
        for reservation_id, group in found.items()
        if reservation_id in reservation_ids
    }


def _health(ec2: EC2Client, block_id: str = "") -> dict[str, Health]:
    """The health of one block, or of all blocks in the region, by reservation."""
    found: dict[str, Health] = {}
    with reading("read the health of Capacity Blocks"):
        pages = ec2.get_paginator("describe_capacity_block_status").paginate(
            CapacityBlockIds=[block_id] if block_id else []
        )
        for raw in (raw for page in pages for raw in page["CapacityBlockStatuses"]):
            # The block's counts, not its reservations': there "unavailable" means in use (EC2 API reference).
            health = Health(
                raw.get("InterconnectStatus", "insufficient-data"),
                raw.get("TotalCapacity", 0),
                raw.get("TotalAvailableCapacity", 0),
                raw.get("TotalUnavailableCapacity", 0),
            )
            for status in raw.get("CapacityReservationStatuses", []):
                found[status.get("CapacityReservationId", "")] = health
    return found


def _or_unreadable(read: Callable[[], T]) -> T | Unreadable:
    try:
        return read()
    except AwsError as error:
        # "Could not list the instances on it: the permission ec2:DescribeInstances is missing." has the reason last.
        reason = error.what.partition(": ")[2] or error.why or error.what
        return Unreadable(reason.rstrip("."))
