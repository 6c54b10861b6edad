"""On-demand Capacity Reservations. Unlike Capacity Blocks they can be modified and cancelled. Does not import moto.

Sources
-------
- Parameters, states, and the defaults "open" and "unlimited": EC2 API, CreateCapacityReservation.
- A cancelled or expired reservation can't be cancelled or modified: EC2 API, CancelCapacityReservation and
  ModifyCapacityReservation, which list the states in which it is possible; the error code is assumed.

Instances can't run on these reservations: `launches` refuses a target that is not a Capacity Block.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from rehearsal.errors import AwsError

State = Literal["active", "expired", "cancelled"]
# The attributes in a snapshot, by these names: state folders contain them.
_SNAPSHOT_ATTRIBUTES = ("_ids", "_made", "_by_token")


@dataclass
class OnDemandReservation:
    """A reservation. Dates are UTC. `end`: None for a reservation without an end date."""

    reservation_id: str
    region: str
    zone: str
    instance_type: str
    platform: str
    count: int
    created: datetime
    end: datetime | None
    match_criteria: str
    tags: dict[str, str]
    cancelled: bool = False

    def state(self, now: datetime) -> State:
        if self.cancelled:
            return "cancelled"
        return "expired" if self.end is not None and now >= self.end else "active"

    def available(self, now: datetime) -> int:
        return self.count if self.state(now) == "active" else 0


@dataclass(frozen=True)
class ReservationChange:
    """Changes to a reservation; None for no change. `end` is only used with an `end_type`, "limited" or "unlimited"."""

    count: int | None
    end_type: str | None
    end: datetime | None
    match_criteria: str | None


class OnDemandReservations:
    """The reservations of all regions. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = random.Random("on demand")
        self._made: dict[str, OnDemandReservation] = {}
        self._by_token: dict[tuple[str, str], OnDemandReservation] = {}

    def snapshot(self) -> dict[str, Any]:
        """The state, for `restore`."""
        with self._lock:
            return {name: getattr(self, name) for name in _SNAPSHOT_ATTRIBUTES}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        with self._lock:
            for name in _SNAPSHOT_ATTRIBUTES:
                setattr(self, name, snapshot[name])

    def new_id(self) -> str:
        with self._lock:
            return f"cr-{self._ids.getrandbits(68):017x}"

    def add(self, reservation: OnDemandReservation, token: str | None) -> OnDemandReservation:
        """Add the reservation, or return the existing one if the client token was used before."""
        with self._lock:
            if token:
                reservation = self._by_token.setdefault((reservation.region, token), reservation)
            return self._made.setdefault(reservation.reservation_id, reservation)

    def in_region(self, region: str) -> list[OnDemandReservation]:
        with self._lock:
            return [reservation for reservation in self._made.values() if reservation.region == region]

    def find(self, region: str, reservation_id: str) -> OnDemandReservation | None:
        with self._lock:
            found = self._made.get(reservation_id)
            return found if found is not None and found.region == region else None

    def modify(self, reservation: OnDemandReservation, change: ReservationChange, now: datetime) -> None:
        """AwsError if the reservation is expired or cancelled."""
        with self._lock:
            _check_active(reservation, now, "modified")
            reservation.count = change.count or reservation.count
            reservation.match_criteria = change.match_criteria or reservation.match_criteria
            if change.end_type:
                reservation.end = change.end

    def cancel(self, reservation: OnDemandReservation, now: datetime) -> None:
        """AwsError if the reservation is expired or cancelled."""
        with self._lock:
            _check_active(reservation, now, "cancelled")
            reservation.cancelled = True


def _check_active(reservation: OnDemandReservation, now: datetime, participle: str) -> None:
    state = reservation.state(now)
    if state != "active":
        raise AwsError(
            "InvalidCapacityReservationState",
            f"The capacity reservation '{reservation.reservation_id}' is {state} and can't be {participle}.",
        )
