"""On-demand Capacity Reservations: made, ended and cancelled at will, unlike Capacity Blocks. Pure: no moto.

Sources
-------
- What is asked, the states, "open" and "unlimited" as defaults: EC2 API, CreateCapacityReservation.
- Cancelling or modifying what is cancelled or expired is refused: EC2 API, CancelCapacityReservation and
  ModifyCapacityReservation, by their lists of states in which it is possible; the code is assumed.
Instances don't run on them here: `launches` refuses a target that is not a Capacity Block.
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
_KEPT = ("_ids", "_made", "_by_token")


@dataclass
class OnDemand:
    """One reservation. `end` None: until it is cancelled. Dates are UTC."""

    reservation_id: str
    region: str
    zone: str
    instance_type: str
    platform: str
    count: int
    created: datetime
    end: datetime | None
    match: str
    tags: dict[str, str]
    cancelled: bool = False

    def state(self, now: datetime) -> State:
        if self.cancelled:
            return "cancelled"
        return "expired" if self.end is not None and now >= self.end else "active"

    def available(self, now: datetime) -> int:
        return self.count if self.state(now) == "active" else 0


@dataclass(frozen=True)
class Change:
    """What a reservation is to be from now on; None stays as it is. `end` goes with an `end_type` of limited."""

    count: int | None
    end_type: str | None
    end: datetime | None
    match: str | None


class OnDemandReservations:
    """Those of every region. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = random.Random("on demand")
        self._made: dict[str, OnDemand] = {}
        self._by_token: dict[tuple[str, str], OnDemand] = {}

    def kept(self) -> dict[str, Any]:
        """All there is to know, for `take_up` of another."""
        with self._lock:
            return {name: getattr(self, name) for name in _KEPT}

    def take_up(self, kept: Mapping[str, Any]) -> None:
        with self._lock:
            for name in _KEPT:
                setattr(self, name, kept[name])

    def new_id(self) -> str:
        with self._lock:
            return f"cr-{self._ids.getrandbits(68):017x}"

    def add(self, reservation: OnDemand, token: str | None) -> OnDemand:
        """Keep it; a client token that was used before gets what it got then."""
        with self._lock:
            if token:
                reservation = self._by_token.setdefault((reservation.region, token), reservation)
            return self._made.setdefault(reservation.reservation_id, reservation)

    def in_region(self, region: str) -> list[OnDemand]:
        with self._lock:
            return [one for one in self._made.values() if one.region == region]

    def find(self, region: str, reservation_id: str) -> OnDemand | None:
        with self._lock:
            found = self._made.get(reservation_id)
            return found if found is not None and found.region == region else None

    def modify(self, reservation: OnDemand, change: Change, now: datetime) -> None:
        """AwsError when it has ended already."""
        with self._lock:
            _check_active(reservation, now, "modified")
            reservation.count = change.count or reservation.count
            reservation.match = change.match or reservation.match
            if change.end_type:
                reservation.end = change.end

    def cancel(self, reservation: OnDemand, now: datetime) -> None:
        """AwsError when it has ended already."""
        with self._lock:
            _check_active(reservation, now, "cancelled")
            reservation.cancelled = True


def _check_active(reservation: OnDemand, now: datetime, to_be: str) -> None:
    state = reservation.state(now)
    if state != "active":
        raise AwsError(
            "InvalidCapacityReservationState",
            f"The capacity reservation '{reservation.reservation_id}' is {state} and can't be {to_be}.",
        )
