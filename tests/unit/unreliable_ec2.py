"""An EC2 that fails as configured: lost requests and responses, late requests, 5xx, throttling, kills.

Time is simulated. A request takes effect up to 15 minutes later and shows up to five minutes after that: together,
`torchneuron.capacity_blocks.once.SETTLE_TIME`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import EndpointConnectionError, ProxyConnectionError, ReadTimeoutError

from tests.exactly_once import Killed
from tests.unit.capacity_fakes import NOW, START, ZONE, dated, offering, refusal, reservation

END = START + timedelta(hours=24)
RESERVATION = "cr-0123456789abcdef0"
EXTENSION_OFFERING = "cbe-0123456789abcdef0"


LOST = ("lost-before", "lost-after", "late", "5xx-before", "5xx-after", "proxy-after")
REFUSALS = ("throttled", "unreachable", "denied")
KILLS = ("killed-before", "killed-after")
OUTCOMES = ("ok", *LOST, *REFUSALS, *KILLS)


@dataclass
class Accepted:
    """A purchase: how EC2 shows it, when it takes effect, and from when on it shows."""

    shown: dict[str, Any]
    effective: datetime
    visible: datetime


@dataclass
class UnreliableEc2:
    """Each call uses up one of `outcomes`; after that all calls succeed. `late` is below 900 s, `unseen` below 300 s.

    `payments`: how often a purchase shows as payment-pending before it is paid. `block` is owned from the start.
    """

    outcomes: list[str]
    late: int = 0
    unseen: int = 0
    payments: int = 0
    sold_out_after: bool = False
    fails_to_pay: bool = False
    now: datetime = NOW
    block: dict[str, Any] = field(default_factory=lambda: reservation(RESERVATION))
    blocks: list[Accepted] = field(default_factory=list)
    extensions: list[Accepted] = field(default_factory=list)
    sent: int = 0

    def made(self) -> int:
        """How many purchases took effect. A test buys either blocks or extensions."""
        return len(self.blocks) + len(self.extensions)

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def answer(self, _: Any = None, __: Any = None) -> bool:
        """The user's approval, or the report to the user: only a kill can interrupt it."""
        if self.outcomes and self.outcomes[0] in KILLS:
            self._call(lambda: True, lambda: None)
        return True

    def get_paginator(self, operation: str) -> Any:
        pages: Callable[..., Iterator[dict[str, Any]]] = getattr(self, f"_pages_of_{operation}")
        return type("Paginator", (), {"paginate": staticmethod(pages)})

    def describe_capacity_reservations(self, **request: Any) -> dict[str, Any]:
        def found() -> dict[str, Any]:
            ids = request["CapacityReservationIds"]
            chosen = [owned for owned in self._reservations() if owned["CapacityReservationId"] in ids]
            if not chosen:
                raise refusal("InvalidCapacityReservationId.NotFound")
            return dated({"CapacityReservations": chosen})

        return self._read(found)

    def purchase_capacity_block(self, **request: Any) -> dict[str, Any]:
        bought = reservation(f"cr-{len(self.blocks) + 1:017x}", "payment-pending")
        bought["Tags"] = [*bought["Tags"], *request["TagSpecifications"][0]["Tags"]]

        def buy(after: int) -> dict[str, Any]:
            self.blocks.append(self._accepted(bought, after))
            return dated({"CapacityReservation": dict(bought)})

        return self._send(buy)

    def purchase_capacity_block_extension(self, **request: Any) -> dict[str, Any]:
        # AWS sells another extension only once the previous one is paid: a second request is always a mistake here.
        bought = {**_extension_offering(), "CapacityBlockExtensionStatus": "payment-pending"}

        def buy(after: int) -> dict[str, Any]:
            self.extensions.append(self._accepted(bought, after))
            return dated({"CapacityBlockExtensions": [dict(bought)]})

        return self._send(buy)

    def _pages_of_describe_capacity_block_offerings(self, **_: Any) -> Iterator[dict[str, Any]]:
        gone = self.sold_out_after and self.blocks
        yield self._read(lambda: {"CapacityBlockOfferings": [] if gone else [offering()]})

    def _pages_of_describe_capacity_reservations(self, **_: Any) -> Iterator[dict[str, Any]]:
        yield self._read(lambda: dated({"CapacityReservations": self._reservations()}))

    def _pages_of_describe_capacity_block_extension_offerings(self, **_: Any) -> Iterator[dict[str, Any]]:
        yield self._read(lambda: {"CapacityBlockExtensionOfferings": [_extension_offering()]})

    def _pages_of_describe_capacity_block_extension_history(self, **_: Any) -> Iterator[dict[str, Any]]:
        yield self._read(lambda: {"CapacityBlockExtensions": self._visible(self.extensions)})

    def _reservations(self) -> list[dict[str, Any]]:
        mine = dict(self.block)
        if any(
            bought["CapacityBlockExtensionStatus"] == "payment-succeeded" for bought in self._visible(self.extensions)
        ):
            mine["EndDate"] = END + timedelta(hours=24)
        return [mine, *self._visible(self.blocks)]

    def _visible(self, accepted: list[Accepted]) -> list[dict[str, Any]]:
        """What shows now. Each time a purchase shows, its payment advances by one step."""
        shown = [purchase.shown for purchase in accepted if purchase.visible <= self.now]
        for raw in shown:
            if raw.get("State") == "payment-pending" and self._is_paid():
                raw["State"] = "scheduled"
            if raw.get("CapacityBlockExtensionStatus") == "payment-pending" and self._is_paid():
                raw["CapacityBlockExtensionStatus"] = "payment-failed" if self.fails_to_pay else "payment-succeeded"
        return [dict(raw) for raw in shown]

    def _is_paid(self) -> bool:
        self.payments -= 1
        return self.payments < 0

    def _accepted(self, shown: dict[str, Any], after: int) -> Accepted:
        effective = self.now + timedelta(seconds=after)
        return Accepted(shown, effective, effective + timedelta(seconds=self.unseen))

    def _read(self, found: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        answer: dict[str, Any] = self._call(found, lambda: None)
        return answer

    def _send(self, buy: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
        self.sent += 1
        answer: dict[str, Any] = self._call(lambda: buy(0), lambda: buy(self.late))
        return answer

    def _call(self, act: Callable[[], Any], act_late: Callable[[], Any]) -> Any:
        outcome = self.outcomes.pop(0) if self.outcomes else "ok"
        if outcome.endswith("-after"):
            act()
        if outcome == "late":
            act_late()
        if outcome.startswith("killed"):
            raise Killed
        if outcome in ("lost-before", "lost-after", "late"):
            raise ReadTimeoutError(endpoint_url="https://ec2")
        if outcome == "proxy-after":
            raise ProxyConnectionError(proxy_url="http://proxy")
        if outcome.startswith("5xx"):
            raise refusal("InternalError", status=500)
        if outcome == "throttled":
            raise refusal("RequestLimitExceeded", status=503)
        if outcome == "unreachable":
            raise EndpointConnectionError(endpoint_url="https://ec2")
        if outcome == "denied":
            raise refusal("UnauthorizedOperation")
        return act()


def _extension_offering() -> dict[str, Any]:
    return {
        "CapacityBlockExtensionOfferingId": EXTENSION_OFFERING,
        "CapacityReservationId": RESERVATION,
        "InstanceType": "trn2.3xlarge",
        "InstanceCount": 1,
        "AvailabilityZone": ZONE,
        "CapacityBlockExtensionStartDate": END,
        "CapacityBlockExtensionEndDate": END + timedelta(hours=24),
        "CapacityBlockExtensionDurationHours": 24,
        "UpfrontFee": "53.64",
        "CurrencyCode": "USD",
    }
