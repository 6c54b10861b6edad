"""A reservation with what EC2 keeps elsewhere about it: the instances on it, its health, its extensions.

None of that is needed to know what was bought. What cannot be read, for want of a permission or because AWS refuses,
is said to be so instead of failing the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from torchneuron.aws.errors import reading, utc
from torchneuron.capacity_blocks import extensions, reservations
from torchneuron.capacity_blocks.extensions import EXTENDED_STATES, Extension
from torchneuron.capacity_blocks.reservations import GONE, Reservation
from torchneuron.capacity_blocks.rules import extension_window
from torchneuron.core.errors import AwsError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import CapacityBlockStatusTypeDef, InstanceTypeDef

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Unreadable:
    """In the place of something that could not be read. `why` completes "not readable: "."""

    why: str

    def __str__(self) -> str:
        return f"not readable: {self.why}"


@dataclass(frozen=True)
class Instance:
    """An instance that occupies a part of a reservation. `state` is EC2's word, `launched` aware, in UTC."""

    id: str
    reservation_id: str
    state: str
    launched: datetime | None


@dataclass(frozen=True)
class Health:
    """How AWS finds a block to be. `interconnect` is `ok`, `impaired` or `insufficient-data`; capacity in instances.

    `unavailable` is what fails a system status check. Source: EC2 API reference, DescribeCapacityBlockStatus.
    """

    interconnect: str
    total: int
    available: int
    unavailable: int


@dataclass(frozen=True)
class Details:
    """A reservation and what else is known of it. `health` and `extensions` are None where there is none to ask for."""

    reservation: Reservation
    instances: tuple[Instance, ...] | Unreadable
    health: Health | Unreadable | None
    extensions: tuple[Extension, ...] | Unreadable | None = None

    @property
    def extension_window(self) -> tuple[datetime, datetime] | None:
        """From when until when AWS sells extensions of it, in UTC; None where its state or kind rules them out."""
        one = self.reservation
        return extension_window(one.end) if one.is_block and one.end and one.state in EXTENDED_STATES else None


def of_blocks(ec2: EC2Client, region: str) -> list[Details]:
    """Every Capacity Block of the region, by start, with one call for each extra. Extensions are not looked up.

    Raises AwsError and AccessError when the reservations themselves cannot be read.
    """
    blocks = reservations.list_blocks(ec2, region)
    held = [block.id for block in blocks if block.state not in GONE]
    instances = _or_unreadable(lambda: _instances(ec2, held)) if held else {}
    health = _or_unreadable(lambda: _health(ec2)) if held else {}
    return [_joined(block, instances, health) for block in blocks]


def of_one(ec2: EC2Client, region: str, reservation_id: str) -> Details:
    """One reservation of either kind, with its extensions.

    Raises NotFoundError when there is none with this id, AwsError and AccessError when it cannot be read.
    """
    one = reservations.describe(ec2, region, reservation_id)
    if one.is_block and one.state in GONE:
        return _joined(one, {}, {}, extensions_of(ec2, one))
    instances = _or_unreadable(lambda: _instances(ec2, [one.id]))
    if not one.is_block:
        return _joined(one, instances, {})
    return _joined(one, instances, _or_unreadable(lambda: _health(ec2, one.block_id)), extensions_of(ec2, one))


def extensions_of(ec2: EC2Client, block: Reservation) -> tuple[Extension, ...] | Unreadable:
    """The extensions bought for a block, by start, where they can be read."""
    return _or_unreadable(lambda: tuple(extensions.history(ec2, [block.id])))


def _joined(
    one: Reservation,
    instances: Mapping[str, Sequence[Instance]] | Unreadable,
    health: Mapping[str, Health] | Unreadable,
    made: tuple[Extension, ...] | Unreadable | None = None,
) -> Details:
    if one.state in GONE and one.is_block:
        # Nothing runs on it and it has no health, whether or not those of others could be read.
        return Details(one, (), None, made)
    return Details(
        one,
        instances if isinstance(instances, Unreadable) else tuple(instances.get(one.id, ())),
        health if isinstance(health, Unreadable) else health.get(one.id),
        made,
    )


def _instances(ec2: EC2Client, reservation_ids: Sequence[str]) -> dict[str, list[Instance]]:
    """The instances on these reservations, by reservation, without those that are terminated."""
    wanted = list(reservation_ids)
    found: dict[str, list[Instance]] = {one: [] for one in wanted}
    with reading("list the instances on it"):
        pages = ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "capacity-reservation-id", "Values": wanted}]
        )
        for raw in (raw for page in pages for group in page["Reservations"] for raw in group["Instances"]):
            instance = _instance(raw)
            if instance.reservation_id in found and instance.state != "terminated":
                found[instance.reservation_id].append(instance)
    return {key: sorted(group, key=lambda instance: instance.id) for key, group in found.items()}


def _instance(raw: InstanceTypeDef) -> Instance:
    launched = raw.get("LaunchTime")
    return Instance(
        id=raw["InstanceId"],
        reservation_id=raw.get("CapacityReservationId", ""),
        state=raw.get("State", {}).get("Name", ""),
        launched=utc(launched) if launched else None,
    )


def _health(ec2: EC2Client, block_id: str = "") -> dict[str, Health]:
    """The health of one block, or of all the region's, by reservation."""
    with reading("read the health of Capacity Blocks"):
        ids = [block_id] if block_id else []
        pages = ec2.get_paginator("describe_capacity_block_status").paginate(CapacityBlockIds=ids)
        return dict(pair for page in pages for raw in page["CapacityBlockStatuses"] for pair in _by_reservation(raw))


def _by_reservation(raw: CapacityBlockStatusTypeDef) -> Iterable[tuple[str, Health]]:
    # The block's counts, not its reservations': there "unavailable" means in use (EC2 API reference).
    health = Health(
        raw.get("InterconnectStatus", "insufficient-data"),
        raw.get("TotalCapacity", 0),
        raw.get("TotalAvailableCapacity", 0),
        raw.get("TotalUnavailableCapacity", 0),
    )
    for one in raw.get("CapacityReservationStatuses", []):
        yield one.get("CapacityReservationId", ""), health


def _or_unreadable(read: Callable[[], _Read]) -> _Read | Unreadable:
    try:
        return read()
    except AwsError as error:
        # "Could not list the instances on it: the permission ec2:DescribeInstances is missing." has the reason last.
        reason = error.what.partition(": ")[2] or error.why or error.what
        return Unreadable(reason.rstrip("."))
