"""Capacity Blocks that were bought, and what becomes of them as time passes. Pure: no moto.

Sources
-------
- States and their order, available count 0 before the start: EC2 API reference, CapacityReservation.
- Instances are terminated from 30 minutes before the end: EC2 user guide, "Work with Capacity Blocks".
- Launch refusals: InvalidCapacityReservationState.PendingActivation ("Your Capacity Block is not active yet.")
  and ReservationCapacityExceeded from the EC2 API reference, "Error codes"; the latter's text, and that it also
  answers a wrong type or zone, from hashicorp/terraform-provider-aws 35745 and 32458.
- "You can't modify or cancel a Capacity Block": EC2 API reference, CancelCapacityReservation.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from rehearsal.errors import AwsError
from rehearsal.offerings import OFFERING_ID, Offering, Query, can_start, find, fits

State = Literal["payment-pending", "scheduled", "active", "expired"]

PAYMENT = timedelta(seconds=2)
"""How long a purchase stays payment-pending. AWS allows itself up to 12 hours; seconds is the usual."""
RECLAIMED_BEFORE_END = timedelta(minutes=30)


@dataclass
class Block:
    """One block bought, as one Capacity Reservation. `bought`: UTC. `instances`: ids running on it."""

    reservation_id: str
    block_id: str
    offering: Offering
    platform: str
    bought: datetime
    tags: dict[str, str]
    instances: set[str] = field(default_factory=set)

    def state(self, now: datetime) -> State:
        if now >= self.offering.end:
            return "expired"
        if now < self.bought + PAYMENT:
            return "payment-pending"
        return "active" if now >= self.offering.start else "scheduled"

    def reclaimed(self, now: datetime) -> bool:
        """Whether AWS has begun to terminate what runs on it."""
        return now >= self.offering.end - RECLAIMED_BEFORE_END

    def available(self, now: datetime) -> int:
        """Instances that can be launched on it: none before the start, none once AWS takes it back."""
        if self.state(now) != "active" or self.reclaimed(now):
            return 0
        return self.offering.instance_count - len(self.instances)


@dataclass(frozen=True)
class Launch:
    """What RunInstances asks of a block: a type, in a zone, `least` to `most` instances."""

    instance_type: str
    zone: str
    least: int
    most: int


class Market:
    """Every region's offerings and blocks. Safe to use from any thread."""

    def __init__(self, now: Callable[[], datetime], *, seed: int = 0) -> None:
        """`now`: the rehearsal's clock, UTC. `seed`: decides offerings and ids."""
        self._now = now
        self._seed = seed
        self._ids = random.Random(seed)
        self._lock = threading.RLock()
        self._quoted: dict[str, Offering] = {}
        self._blocks: dict[str, Block] = {}

    def offerings(self, query: Query) -> list[Offering]:
        """Blocks on sale now, soonest first, at most six; AwsError for a query AWS refuses."""
        with self._lock:
            found = find(query, now=self._now(), seed=self._seed, taken=self._sold())
            self._quoted.update({one.offering_id: one for one in found})
            return found

    def quote(self, region: str, offering_id: str) -> Offering:
        """The offering, if it can be bought now; AwsError as PurchaseCapacityBlock refuses it otherwise."""
        if not OFFERING_ID.fullmatch(offering_id):
            raise AwsError(
                "InvalidCapacityBlockOfferingIdMalformed",
                f"The Capacity Block offering ID '{offering_id}' is malformed.",
            )
        with self._lock:
            offering = self._quoted.get(offering_id)
            if offering is None or offering.region != region:
                raise AwsError(
                    "InvalidCapacityBlockOfferingIdNotFound",
                    f"The Capacity Block offering ID '{offering_id}' cannot be found for this account.",
                )
            if not can_start(offering, self._now()) or not fits(offering, self._sold()):
                raise AwsError(
                    "InvalidCapacityBlockOfferingIdExpired",
                    f"The Capacity Block offering ID '{offering_id}' is no longer available.",
                )
            return offering

    def purchase(self, region: str, offering_id: str, *, platform: str, tags: Mapping[str, str]) -> Block:
        """Buy it. A repeated request buys again while there is capacity: AWS has no client token here."""
        with self._lock:
            offering = self.quote(region, offering_id)
            block = Block(
                reservation_id=f"cr-{self._ids.getrandbits(68):017x}",
                block_id=f"cb-{self._ids.getrandbits(68):017x}",
                offering=offering,
                platform=platform,
                bought=self._now(),
                tags=dict(tags),
            )
            self._blocks[block.reservation_id] = block
            return block

    def blocks(self, region: str) -> list[Block]:
        """Those bought in a region, in the order they were."""
        with self._lock:
            return [block for block in self._blocks.values() if block.offering.region == region]

    def block(self, region: str, reservation_id: str) -> Block:
        with self._lock:
            block = self._blocks.get(reservation_id)
            if block is None or block.offering.region != region:
                raise AwsError(
                    "InvalidCapacityReservationId.NotFound",
                    f"The capacity reservation '{reservation_id}' does not exist",
                )
            return block

    def cancel(self, region: str, reservation_id: str) -> None:
        """Always AwsError: the reservation is unknown, or it is a Capacity Block."""
        self.block(region, reservation_id)
        raise AwsError("OperationNotPermitted", "You can't modify or cancel a Capacity Block.")

    def admit(self, region: str, reservation_id: str, launch: Launch) -> int:
        """How many instances may start on the block now, between `least` and `most`; AwsError when too few."""
        with self._lock:
            block, now = self.block(region, reservation_id), self._now()
            if block.state(now) in ("payment-pending", "scheduled"):
                raise AwsError(
                    "InvalidCapacityReservationState.PendingActivation",
                    "Your Capacity Block is not active yet.",
                )
            compatible = (block.offering.instance_type, block.offering.zone) == (
                launch.instance_type,
                launch.zone,
            )
            free = min(launch.most, block.available(now)) if compatible else 0
            if free < launch.least:
                raise AwsError(
                    "ReservationCapacityExceeded",
                    "The requested reservation does not have sufficient compatible and available capacity "
                    "for this request.",
                )
            return free

    def occupy(self, region: str, reservation_id: str, instance_ids: list[str]) -> None:
        with self._lock:
            self.block(region, reservation_id).instances.update(instance_ids)

    def release(self, instance_ids: list[str]) -> None:
        """Give back what terminated instances held."""
        with self._lock:
            for block in self._blocks.values():
                block.instances.difference_update(instance_ids)

    def doomed(self) -> dict[str, list[str]]:
        """By region, the instances on blocks AWS has begun to take back."""
        with self._lock:
            now, found = self._now(), dict[str, list[str]]()
            for block in self._blocks.values():
                if block.instances and block.reclaimed(now):
                    found.setdefault(block.offering.region, []).extend(sorted(block.instances))
            return found

    def _sold(self) -> list[Offering]:
        return [block.offering for block in self._blocks.values()]
