"""More time for a block: what is on sale, what was bought, and how it moves the block's end. Pure: no moto.

Sources
-------
- Durations, from 56 days to 1 hour before the end, one under way at a time, only for a block that is active or
  scheduled, the reservation's id kept: EC2 user guide, "Extend Capacity Blocks".
- An extension starts at the block's end: EC2 API, CapacityBlockExtensionOffering.
- Error codes are assumed, after those of PurchaseCapacityBlock: AWS publishes none for extensions. So is the price,
  which is the block's own an hour.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from rehearsal.errors import AwsError
from rehearsal.market.payments import LONGEST, Payment, Status

EARLIEST = timedelta(days=56)
LATEST = timedelta(hours=1)
PAID_BEFORE_END = timedelta(minutes=35)


@dataclass(frozen=True)
class ExtensionOffering:
    """Time from `start`, the block's end, to `end`, UTC. The fee is for all of it, in USD."""

    offering_id: str
    reservation_id: str
    start: datetime
    end: datetime
    upfront_fee: Decimal

    @property
    def hours(self) -> int:
        return int((self.end - self.start) / timedelta(hours=1))


@dataclass(frozen=True)
class Extension:
    """An extension bought. `shown`: from when on EC2's answers list it."""

    offering: ExtensionOffering
    payment: Payment
    shown: datetime

    def status(self, now: datetime) -> Status:
        return self.payment.status(now)


def offer(reservation_id: str, end: datetime, hours: int, hourly: Decimal) -> ExtensionOffering:
    """The one offering of `hours` after `end`; asked again, it has the same id."""
    digest = hashlib.sha256(f"{reservation_id} {end.isoformat()} {hours}".encode()).hexdigest()
    fee = (hourly * hours).quantize(Decimal("0.01"))
    return ExtensionOffering(f"cbe-{digest[:17]}", reservation_id, end, end + timedelta(hours=hours), fee)


def check_extendable(state: str, end: datetime, pending: bool, now: datetime) -> None:
    """AwsError unless EC2 takes extensions of a block in this state that ends then."""
    if state not in ("active", "scheduled"):
        raise AwsError(
            "InvalidCapacityReservationState",
            f"The Capacity Block is {state}. Only active or scheduled Capacity Blocks can be extended.",
        )
    if pending:
        raise AwsError("InvalidCapacityReservationState", "The Capacity Block has an extension in payment-pending.")
    if not end - EARLIEST <= now <= end - LATEST:
        raise AwsError(
            "InvalidCapacityReservationState",
            "A Capacity Block can be extended from 56 days until 1 hour before it expires.",
        )


def buy(offering: ExtensionOffering, now: datetime, *, lasts: timedelta, bounces: bool, hidden: timedelta) -> Extension:
    """The offering, bought at `now`. `lasts`, `bounces`: its payment; `hidden`: until EC2's answers list it."""
    deadline = min(now + LONGEST, offering.start - PAID_BEFORE_END)
    return Extension(offering, Payment(now, lasts, bounces, deadline), now + hidden)
