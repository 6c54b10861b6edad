"""Purchased Capacity Blocks and their state over time. Does not import moto.

Sources
-------
- States and their order, available count 0 before the start: EC2 API reference, CapacityReservation.
- Instances are terminated from 30 minutes before the end, UltraServers' from 60: EC2 user guide, "Work with
  Capacity Blocks".
- Launch refusals: InvalidCapacityReservationState.PendingActivation ("Your Capacity Block is not active yet.")
  and ReservationCapacityExceeded from the EC2 API reference, "Error codes"; the text of the latter, and that a wrong
  type or zone also returns it, from hashicorp/terraform-provider-aws 35745 and 32458.
- "You can't modify or cancel a Capacity Block": EC2 API reference, CancelCapacityReservation.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from rehearsal.errors import AwsError
from rehearsal.market import extensions
from rehearsal.market.extensions import Extension, ExtensionOffering
from rehearsal.market.offerings import (
    OFFERING_ID,
    Offering,
    Query,
    can_start,
    check_duration,
    check_total,
    find,
    fits,
)
from rehearsal.market.payments import MAX_PAYMENT_TIME, Payment
from rehearsal.market.settings import Health, MarketSettings

State = Literal["payment-pending", "payment-failed", "scheduled", "active", "expired"]

RECLAIMED_BEFORE_END = timedelta(minutes=30)
ULTRASERVERS_RECLAIMED_BEFORE_END = timedelta(minutes=60)
# The attributes in a snapshot, by these names: state folders contain them.
_SNAPSHOT_ATTRIBUTES = ("_ids", "_quoted", "_quoted_extensions", "_blocks")


@dataclass
class Block:
    """A purchased block with its Capacity Reservation.

    `visible_from`: when EC2's responses start to list it, UTC. `instances`: ids of the instances running on it.
    `extensions`: in order of purchase.
    """

    reservation_id: str
    block_id: str
    offering: Offering
    platform: str
    payment: Payment
    visible_from: datetime
    tags: dict[str, str]
    instances: set[str] = field(default_factory=set)
    extensions: list[Extension] = field(default_factory=list)

    @property
    def purchased(self) -> datetime:
        return self.payment.started

    def end(self, now: datetime) -> datetime:
        """The end of the block, including extensions that are paid."""
        paid = [extension.offering.end for extension in self.extensions if extension.status(now) == "payment-succeeded"]
        return max([self.offering.end, *paid])

    def state(self, now: datetime) -> State:
        payment = self.payment.status(now)
        if payment != "payment-succeeded":
            return payment
        if now >= self.end(now):
            return "expired"
        return "active" if now >= self.offering.start else "scheduled"

    def is_reclaimed(self, now: datetime) -> bool:
        """Whether AWS has started to terminate the instances on it."""
        early = ULTRASERVERS_RECLAIMED_BEFORE_END if self.offering.ultraserver_type else RECLAIMED_BEFORE_END
        return now >= self.end(now) - early

    def sold_offerings(self, now: datetime) -> list[Offering]:
        """The capacity that the block and its extensions occupy, as offerings."""
        if self.state(now) == "payment-failed":
            return []
        extended = [
            replace(self.offering, start=extension.offering.start, end=extension.offering.end)
            for extension in self.extensions
            if extension.status(now) != "payment-failed"
        ]
        return [self.offering, *extended]

    def available(self, now: datetime) -> int:
        """How many more instances can be launched: none before the start or once AWS reclaims the block."""
        if self.state(now) != "active" or self.is_reclaimed(now):
            return 0
        return self.offering.instance_count - len(self.instances)


@dataclass(frozen=True)
class Launch:
    """A RunInstances request on a block, for `minimum` to `maximum` instances."""

    instance_type: str
    zone: str
    minimum: int
    maximum: int


class Market:
    """The offerings and blocks of all regions. Thread-safe."""

    def __init__(self, now: Callable[[], datetime], *, seed: int = 0, settings: MarketSettings | None = None) -> None:
        """`now`: the rehearsal's clock, UTC. `seed`: determines offerings and ids."""
        self.settings = settings or MarketSettings()
        self._now = now
        self._seed = seed
        self._ids = random.Random(seed)
        self._lock = threading.RLock()
        self._quoted: dict[str, Offering] = {}
        self._quoted_extensions: dict[str, ExtensionOffering] = {}
        self._blocks: dict[str, Block] = {}

    def snapshot(self) -> dict[str, Any]:
        """The state of the market, for `restore`."""
        with self._lock:
            state = {name: getattr(self, name) for name in _SNAPSHOT_ATTRIBUTES}
            return {"settings": self.settings.shown(), **state}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        with self._lock:
            self.settings.change(snapshot["settings"])
            for name in _SNAPSHOT_ATTRIBUTES:
                setattr(self, name, snapshot[name])

    def offerings(self, query: Query) -> list[Offering]:
        """Up to six blocks on sale now, soonest first; AwsError for a query that AWS refuses."""
        with self._lock:
            found = find(
                query,
                now=self._now(),
                seed=self._seed,
                sold=self._sold(),
                starts_soon=self.settings.starts_soon,
            )
            found = [offering for offering in found if not self.settings.is_out_of_capacity(offering.instance_type)]
            self._quoted.update({offering.offering_id: offering for offering in found})
            return found

    def quote(self, region: str, offering_id: str) -> Offering:
        """The offering, if it can be purchased now; otherwise the AwsError of PurchaseCapacityBlock."""
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
            is_gone = self.settings.is_out_of_capacity(offering.instance_type) or not fits(offering, self._sold())
            if is_gone or not can_start(offering, self._now()):
                raise AwsError(
                    "InvalidCapacityBlockOfferingIdExpired",
                    f"The Capacity Block offering ID '{offering_id}' is no longer available.",
                )
            check_total(offering, self._sold())
            return offering

    def purchase(self, region: str, offering_id: str, *, platform: str, tags: Mapping[str, str]) -> list[Block]:
        """Purchase an offering: one block for each part. There is no client token: a repeated request buys again."""
        with self._lock:
            offering, now = self.quote(region, offering_id), self._now()
            fails = self.settings.payment_outcome == "failed"
            blocks = [
                Block(
                    reservation_id=f"cr-{self._ids.getrandbits(68):017x}",
                    block_id=f"cb-{self._ids.getrandbits(68):017x}",
                    offering=part,
                    platform=platform,
                    payment=Payment(now, self.settings.payment, fails, now + MAX_PAYMENT_TIME),
                    visible_from=now + self.settings.visible_after,
                    tags=dict(tags),
                )
                for part in offering.parts
            ]
            self._blocks.update({block.reservation_id: block for block in blocks})
            return blocks

    def extension_offerings(self, block: Block, hours: int) -> list[ExtensionOffering]:
        """Extensions on sale for a block: none when the capacity after its end is sold. AwsError if EC2 refuses."""
        check_duration(hours)
        with self._lock:
            now = self._now()
            pending = any(extension.status(now) == "payment-pending" for extension in block.extensions)
            extensions.check_extendable(block.state(now), block.end(now), pending, now)
            hourly = block.offering.upfront_fee / Decimal(block.offering.duration / timedelta(hours=1))
            offering = extensions.create_offering(block.reservation_id, block.end(now), hours, hourly)
            extended = replace(block.offering, start=offering.start, end=offering.end)
            if self.settings.is_out_of_capacity(extended.instance_type) or not fits(extended, self._sold()):
                return []
            self._quoted_extensions[offering.offering_id] = offering
            return [offering]

    def extension_quote(self, block: Block, offering_id: str) -> ExtensionOffering:
        """The extension, if it can be purchased now; otherwise the AwsError of PurchaseCapacityBlockExtension."""
        with self._lock:
            quoted = self._quoted_extensions.get(offering_id)
            if quoted is None or quoted.reservation_id != block.reservation_id:
                raise AwsError(
                    "InvalidCapacityBlockExtensionOfferingIdNotFound",
                    f"The Capacity Block extension offering ID '{offering_id}' cannot be found for this account.",
                )
            if quoted not in self.extension_offerings(block, quoted.hours):
                raise AwsError(
                    "InvalidCapacityBlockExtensionOfferingIdExpired",
                    f"The Capacity Block extension offering ID '{offering_id}' is no longer available.",
                )
            return quoted

    def extend(self, block: Block, offering_id: str) -> Extension:
        """Purchase an extension of the block."""
        with self._lock:
            offering, now = self.extension_quote(block, offering_id), self._now()
            fails = self.settings.payment_outcome == "failed"
            payment = extensions.payment(offering, now, duration=self.settings.payment, fails=fails)
            extension = Extension(offering, payment, visible_from=now + self.settings.visible_after)
            block.extensions.append(extension)
            return extension

    def health(self, block: Block) -> Health:
        health = self.settings.health
        return health.get(block.reservation_id) or health.get(block.block_id) or "ok"

    def blocks(self, region: str) -> list[Block]:
        """The visible blocks of a region, in order of purchase."""
        with self._lock:
            now = self._now()
            return [
                block
                for block in self._blocks.values()
                if block.offering.region == region and block.visible_from <= now
            ]

    def block(self, region: str, reservation_id: str) -> Block:
        with self._lock:
            block = self._blocks.get(reservation_id)
            if block is None or block.offering.region != region or block.visible_from > self._now():
                raise AwsError(
                    "InvalidCapacityReservationId.NotFound",
                    f"The capacity reservation '{reservation_id}' does not exist",
                )
            return block

    def cancel(self, region: str, reservation_id: str) -> None:
        """Always raises AwsError: the reservation is unknown, or it is a Capacity Block."""
        self.block(region, reservation_id)
        raise AwsError("OperationNotPermitted", "You can't modify or cancel a Capacity Block.")

    def admit(self, region: str, reservation_id: str, launch: Launch) -> int:
        """How many instances to launch on the block; AwsError when that is fewer than the minimum."""
        with self._lock:
            block, now = self.block(region, reservation_id), self._now()
            if block.state(now) in ("payment-pending", "payment-failed", "scheduled"):
                raise AwsError(
                    "InvalidCapacityReservationState.PendingActivation",
                    "Your Capacity Block is not active yet.",
                )
            is_compatible = (block.offering.instance_type, block.offering.zone) == (
                launch.instance_type,
                launch.zone,
            )
            free = min(launch.maximum, block.available(now)) if is_compatible else 0
            if free < launch.minimum:
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
        """Release the capacity that terminated instances used."""
        with self._lock:
            for block in self._blocks.values():
                block.instances.difference_update(instance_ids)

    def instances_to_terminate(self) -> dict[str, list[str]]:
        """The instances on blocks that AWS is reclaiming, by region."""
        with self._lock:
            now, found = self._now(), dict[str, list[str]]()
            for block in self._blocks.values():
                if block.instances and block.is_reclaimed(now):
                    found.setdefault(block.offering.region, []).extend(sorted(block.instances))
            return found

    def _sold(self) -> list[Offering]:
        now = self._now()
        return [offering for block in self._blocks.values() for offering in block.sold_offerings(now)]
