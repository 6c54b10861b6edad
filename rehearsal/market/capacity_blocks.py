"""Capacity Blocks that were bought, and what becomes of them as time passes. Pure: no moto.

Sources
-------
- States and their order, available count 0 before the start: EC2 API reference, CapacityReservation.
- Instances are terminated from 30 minutes before the end, UltraServers' from 60: EC2 user guide, "Work with
  Capacity Blocks".
- Launch refusals: InvalidCapacityReservationState.PendingActivation ("Your Capacity Block is not active yet.")
  and ReservationCapacityExceeded from the EC2 API reference, "Error codes"; the latter's text, and that it also
  answers a wrong type or zone, from hashicorp/terraform-provider-aws 35745 and 32458.
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
from rehearsal.market.payments import LONGEST, Payment
from rehearsal.market.settings import Health, MarketSettings

State = Literal["payment-pending", "payment-failed", "scheduled", "active", "expired"]

RECLAIMED_BEFORE_END = timedelta(minutes=30)
ULTRASERVERS_RECLAIMED_BEFORE_END = timedelta(minutes=60)
_KEPT = ("_ids", "_quoted", "_quoted_extensions", "_blocks")


@dataclass
class Block:
    """One block bought, as one Capacity Reservation. `shown`: from when on EC2's answers list it, UTC.

    `instances`: ids running on it. `extensions`: in the order they were bought.
    """

    reservation_id: str
    block_id: str
    offering: Offering
    platform: str
    payment: Payment
    shown: datetime
    tags: dict[str, str]
    instances: set[str] = field(default_factory=set)
    extensions: list[Extension] = field(default_factory=list)

    @property
    def bought(self) -> datetime:
        return self.payment.asked

    def end(self, now: datetime) -> datetime:
        """When it ends: an extension counts once it is paid."""
        paid = [one.offering.end for one in self.extensions if one.status(now) == "payment-succeeded"]
        return max([self.offering.end, *paid])

    def state(self, now: datetime) -> State:
        paid = self.payment.status(now)
        if paid != "payment-succeeded":
            return paid
        if now >= self.end(now):
            return "expired"
        return "active" if now >= self.offering.start else "scheduled"

    def reclaimed(self, now: datetime) -> bool:
        """Whether AWS has begun to terminate what runs on it."""
        early = ULTRASERVERS_RECLAIMED_BEFORE_END if self.offering.ultraserver_type else RECLAIMED_BEFORE_END
        return now >= self.end(now) - early

    def held(self, now: datetime) -> list[Offering]:
        """The capacity it holds, that of its extensions included, as offerings that were sold."""
        if self.state(now) == "payment-failed":
            return []
        more = [
            replace(self.offering, start=one.offering.start, end=one.offering.end)
            for one in self.extensions
            if one.status(now) != "payment-failed"
        ]
        return [self.offering, *more]

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

    def __init__(self, now: Callable[[], datetime], *, seed: int = 0, settings: MarketSettings | None = None) -> None:
        """`now`: the rehearsal's clock, UTC. `seed`: decides offerings and ids."""
        self.settings = settings or MarketSettings()
        self._now = now
        self._seed = seed
        self._ids = random.Random(seed)
        self._lock = threading.RLock()
        self._quoted: dict[str, Offering] = {}
        self._quoted_extensions: dict[str, ExtensionOffering] = {}
        self._blocks: dict[str, Block] = {}

    def kept(self) -> dict[str, Any]:
        """All there is to know of the market, for `take_up` of another."""
        with self._lock:
            state = {name: getattr(self, name) for name in _KEPT}
            return {"settings": self.settings.shown(), **state}

    def take_up(self, kept: Mapping[str, Any]) -> None:
        with self._lock:
            self.settings.change(kept["settings"])
            for name in _KEPT:
                setattr(self, name, kept[name])

    def offerings(self, query: Query) -> list[Offering]:
        """Blocks on sale now, soonest first, at most six; AwsError for a query AWS refuses."""
        with self._lock:
            found = find(
                query,
                now=self._now(),
                seed=self._seed,
                taken=self._sold(),
                starts_soon=self.settings.starts_soon,
            )
            found = [one for one in found if not self.settings.is_out_of(one.instance_type)]
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
            gone = self.settings.is_out_of(offering.instance_type) or not fits(offering, self._sold())
            if gone or not can_start(offering, self._now()):
                raise AwsError(
                    "InvalidCapacityBlockOfferingIdExpired",
                    f"The Capacity Block offering ID '{offering_id}' is no longer available.",
                )
            check_total(offering, self._sold())
            return offering

    def purchase(self, region: str, offering_id: str, *, platform: str, tags: Mapping[str, str]) -> list[Block]:
        """Buy it: a block of each part. A repeated request buys again while there is capacity: no client token here."""
        with self._lock:
            offering, now = self.quote(region, offering_id), self._now()
            bounces = self.settings.payment_outcome == "failed"
            bought = [
                Block(
                    reservation_id=f"cr-{self._ids.getrandbits(68):017x}",
                    block_id=f"cb-{self._ids.getrandbits(68):017x}",
                    offering=part,
                    platform=platform,
                    payment=Payment(now, self.settings.payment, bounces, now + LONGEST),
                    shown=now + self.settings.visible_after,
                    tags=dict(tags),
                )
                for part in offering.parts
            ]
            self._blocks.update({block.reservation_id: block for block in bought})
            return bought

    def extension_offerings(self, block: Block, hours: int) -> list[ExtensionOffering]:
        """More time on sale for a block: none when its pool is sold after its end. AwsError for what EC2 refuses."""
        check_duration(hours)
        with self._lock:
            now = self._now()
            pending = any(one.status(now) == "payment-pending" for one in block.extensions)
            extensions.check_extendable(block.state(now), block.end(now), pending, now)
            hourly = block.offering.upfront_fee / Decimal(block.offering.duration / timedelta(hours=1))
            offering = extensions.offer(block.reservation_id, block.end(now), hours, hourly)
            wanted = replace(block.offering, start=offering.start, end=offering.end)
            if self.settings.is_out_of(wanted.instance_type) or not fits(wanted, self._sold()):
                return []
            self._quoted_extensions[offering.offering_id] = offering
            return [offering]

    def extension_quote(self, block: Block, offering_id: str) -> ExtensionOffering:
        """The extension, if it can be bought now; AwsError as PurchaseCapacityBlockExtension refuses it otherwise."""
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
        """Buy it."""
        with self._lock:
            offering, now = self.extension_quote(block, offering_id), self._now()
            bounces = self.settings.payment_outcome == "failed"
            hidden = self.settings.visible_after
            bought = extensions.buy(offering, now, lasts=self.settings.payment, bounces=bounces, hidden=hidden)
            block.extensions.append(bought)
            return bought

    def health(self, block: Block) -> Health:
        health = self.settings.health
        return health.get(block.reservation_id) or health.get(block.block_id) or "ok"

    def blocks(self, region: str) -> list[Block]:
        """Those bought in a region, in the order they were."""
        with self._lock:
            now = self._now()
            return [one for one in self._blocks.values() if one.offering.region == region and one.shown <= now]

    def block(self, region: str, reservation_id: str) -> Block:
        with self._lock:
            block = self._blocks.get(reservation_id)
            if block is None or block.offering.region != region or block.shown > self._now():
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
            if block.state(now) in ("payment-pending", "payment-failed", "scheduled"):
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
        now = self._now()
        return [offering for block in self._blocks.values() for offering in block.held(now)]
