"""Purchases over a real connection to the rehearsal, with failures at any call (`tests.exactly_once`).

The unit tests cover far more schedules on a fake; this shows that the fake fails as boto3 and a network do.
"""

from __future__ import annotations

import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exactly_once import Killed, run, run_until_reported
from torchneuron.aws.session import Aws
from torchneuron.capacity_blocks import offerings, reservations
from torchneuron.capacity_blocks.purchase import purchase
from torchneuron.capacity_blocks.purchase_request import PurchaseRequest
from torchneuron.capacity_blocks.rules import SearchRequest

REGION = "sa-east-1"
FAULTS: dict[str, dict[str, Any]] = {
    "lost-before": {"kind": "lost-before"},
    "lost-after": {"kind": "lost-after"},
    "5xx-before": {"kind": "server-error"},
    "5xx-after": {"kind": "server-error-after"},
    "gateway": {"kind": "bad-gateway-after"},
    "throttled": {"kind": "error", "code": "RequestLimitExceeded", "status": 503},
    "denied": {"kind": "error", "code": "UnauthorizedOperation", "status": 403},
}
KILLS = ("killed-before", "killed-after")
OUTCOMES = ("ok", *FAULTS, *KILLS)
TAKES_EFFECT = ("ok", "lost-after", "5xx-after", "gateway", "killed-after")


class Rehearsed:
    """The rehearsal, with an outcome for each request that our clients send, retries included."""

    def __init__(self, aws: Aws, control, faults) -> None:
        self.lookups, self.once = aws.ec2(), aws.ec2_once()
        self._control, self._faults = control, faults
        self.begin([])
        for client in (self.lookups, self.once):
            client.meta.events.register("before-send.ec2", self._before)
            client.meta.events.register("after-call.ec2", self._after)

    def begin(self, outcomes, *, unseen=0, payment=0):
        """Reset AWS. A purchase shows after `unseen` seconds and is paid after `payment`."""
        self.outcomes, self.sent, self._made, self._dies = [], 0, 0, False
        self._control("reset", {})
        self._control("market", {"visible_after_seconds": unseen, "payment_seconds": payment})
        request = SearchRequest("trn2.3xlarge", 24, 1, REGION, start_after=self.now + timedelta(days=10))
        self.wanted = offerings.search(self.lookups, request)[0]
        self.outcomes, self.sent = list(outcomes), 0

    @property
    def now(self):
        return datetime.fromisoformat(self._control("status")["clock"])

    def sleep(self, seconds):
        self._control("clock", {"advance_seconds": seconds})

    def made(self):
        return self._made

    def _before(self, event_name, **_):
        operation = event_name.rsplit(".", 1)[1]
        outcome = self.outcomes.pop(0) if self.outcomes else "ok"
        if operation == "PurchaseCapacityBlock":
            self.sent += 1
            self._made += outcome in TAKES_EFFECT
        if outcome == "killed-before":
            raise Killed
        self._dies = outcome == "killed-after"
        self._faults(*([{"operation": operation, **FAULTS[outcome]}] if outcome in FAULTS else []))

    def _after(self, **_):
        if self._dies:
            self._dies = False
            raise Killed


@pytest.fixture
def rehearsed(aws, control, faults, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)  # botocore waits before it retries a lookup
    return Rehearsed(aws, control, faults)


def buy(world, state_dir):
    request = PurchaseRequest(world.wanted.id, world.wanted.search, "a-project", state_dir)
    bought = purchase(
        world.lookups, world.once, request, approve=lambda _: True, sleep=world.sleep, now=lambda: world.now
    )
    return bought.id


def check(world, pauses):
    with tempfile.TemporaryDirectory() as folder:
        reported = run_until_reported(buy, world, pauses, Path(folder))
        again, _ = run(buy, world, Path(folder))
    assert again in (reported, None), "another block"
    assert world.made() == 1
    world.outcomes = []
    world.sleep(300)
    assert [block.id for block in reservations.list_blocks(world.lookups, REGION)] == [reported]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    # Mostly "ok", so that runs reach the purchase.
    outcomes=st.lists(st.sampled_from([*["ok"] * 8, *OUTCOMES]), max_size=40),
    unseen=st.integers(0, 299),
    payment=st.integers(0, 60),
    pauses=st.lists(st.integers(0, 900), max_size=8),
)
def test_block_is_bought_once_and_reported_whatever_fails(rehearsed, outcomes, unseen, payment, pauses):
    rehearsed.begin(outcomes, unseen=unseen, payment=payment)
    check(rehearsed, pauses)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_block_is_bought_once_when_the_purchase_request_fails(rehearsed, outcome):
    calls_before = 3  # the account, the offering, the account again
    rehearsed.begin(["ok"] * calls_before + [outcome], unseen=200, payment=5)
    with tempfile.TemporaryDirectory() as folder:
        run(buy, rehearsed, Path(folder))
        assert rehearsed.sent == 1
        assert rehearsed.outcomes == []
        run_until_reported(buy, rehearsed, [0, 3600], Path(folder))
    assert rehearsed.made() == 1
