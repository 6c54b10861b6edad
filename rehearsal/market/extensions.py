"""Extensions of Capacity Blocks: offerings, checks and payment. Does not import moto.

Sources
-------
- Durations; from 56 days to 1 hour before the end; one pending extension at a time; active or scheduled blocks only;
  the reservation keeps its id: EC2 user guide, "Extend Capacity Blocks".
- An extension starts at the block's end: EC2 API, CapacityBlockExtensionOffering.
- Error codes are assumed, modelled on those of PurchaseCapacityBlock: AWS publishes none for extensions. The price is
  assumed to be the block's own hourly price.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from rehearsal.errors import AwsError
from rehearsal.market.payments import MAX_PAYMENT_TIME, Payment, Status

EARLIEST = timedelta(days=56)
LATEST = timedelta(hours=1)
PAID_BEFORE_END = timedelta(minutes=35)


@dataclass(frozen=True)
class ExtensionOffering:
    """An extension from the block's end (`start`) to `end`, UTC. The fee is the total in USD."""

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
    """A purchased extension. `visible_from`: when EC2's responses start to list it, UTC."""

    offering: ExtensionOffering
    payment: Payment
    visible_from: datetime

    def status(self, now: datetime) -> Status:
        return self.payment.status(now)


def create_offering(reservation_id: str, end: datetime, hours: int, hourly: Decimal) -> ExtensionOffering:
    """The offering of `hours` after `end`. The same arguments give the same id."""
    digest = hashlib.sha256(f"{reservation_id} {end.isoformat()} {hours}".encode()).hexdigest()
    fee = (hourly * hours).quantize(Decimal("0.01"))
    return ExtensionOffering(f"cbe-{digest[:17]}", reservation_id, end, end + timedelta(hours=hours), fee)


def check_extendable(state: str, end: datetime, pending: bool, now: datetime) -> None:
    """AwsError unless a block with this state and end can be extended now."""
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


def payment(offering: ExtensionOffering, now: datetime, *, duration: timedelta, fails: bool) -> Payment:
    """The payment of an extension that is purchased now."""
    deadline = min(now + MAX_PAYMENT_TIME, offering.start - PAID_BEFORE_END)
    return Payment(now, duration, fails, deadline)
