"""Random failures on every call of every run: nothing is bought twice, and every purchase is reported."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.exactly_once import run, run_until_reported
from tests.unit.capacity_fakes import REGION
from tests.unit.unreliable_ec2 import EXTENSION_OFFERING, KILLS, LOST, OUTCOMES, RESERVATION, UnreliableEc2
from torchneuron.capacity_blocks.extend import ExtensionRequest, extend
from torchneuron.capacity_blocks.purchase import purchase
from torchneuron.capacity_blocks.purchase_request import PurchaseRequest
from torchneuron.capacity_blocks.rules import SearchRequest

CALLS_OF_A_RUN = 8

FAILURES = {
    # Mostly "ok", so that runs reach the purchase.
    "outcomes": st.lists(st.sampled_from([*["ok"] * 8, *OUTCOMES]), max_size=40),
    "late": st.integers(0, 899),
    "unseen": st.integers(0, 299),
    "payments": st.integers(0, 4),
}
PAUSES = st.lists(st.integers(0, 900), max_size=8)


def buy_block(ec2, state_dir):
    request = PurchaseRequest("cb-1", SearchRequest("trn2.3xlarge", 24, 1, REGION), "a-project", state_dir)
    return purchase(ec2, ec2, request, approve=ec2.answer, sleep=ec2.sleep, now=lambda: ec2.now).id


def buy_extension(ec2, state_dir):
    request = ExtensionRequest(RESERVATION, REGION, 24, state_dir)
    reported = []

    def report(extension, block):
        ec2.answer()
        reported.append(extension.offering_id)

    extend(ec2, ec2, request, approve=ec2.answer, report=report, sleep=ec2.sleep, now=lambda: ec2.now)
    return reported[0]


def check_block(ec2, pauses):
    with tempfile.TemporaryDirectory() as folder:
        reported = run_until_reported(buy_block, ec2, pauses, Path(folder))
        again, _ = run(buy_block, ec2, Path(folder))
    assert again in (reported, None), "another block"
    assert len(ec2.blocks) == 1
    assert reported == ec2.blocks[0].shown["CapacityReservationId"]


def check_extension(ec2, pauses):
    with tempfile.TemporaryDirectory() as folder:
        reported = run_until_reported(buy_extension, ec2, pauses, Path(folder))
        assert list(Path(folder).glob("purchase-*.json")) == []
    assert len(ec2.extensions) == 1
    assert reported == EXTENSION_OFFERING


@settings(max_examples=400, deadline=None)
@given(pauses=PAUSES, sold_out_after=st.booleans(), **FAILURES)
@example(pauses=[], sold_out_after=False, outcomes=["ok"] * 3 + ["late"], late=899, unseen=299, payments=0)
@example(pauses=[0], sold_out_after=True, outcomes=["ok"] * 3 + ["killed-after"], late=0, unseen=299, payments=3)
def test_block_is_bought_once_and_reported_whatever_fails(pauses, **failures):
    check_block(UnreliableEc2(**failures), pauses)


@settings(max_examples=400, deadline=None)
@given(pauses=PAUSES, **FAILURES)
@example(pauses=[900], outcomes=["ok"] * 5 + ["killed-after"], late=0, unseen=0, payments=0)
@example(pauses=[], outcomes=["ok"] * 5 + ["late"], late=899, unseen=299, payments=2)
def test_extension_is_bought_once_and_reported_whatever_fails(pauses, **failures):
    check_extension(UnreliableEc2(**failures), pauses)


@pytest.mark.parametrize("failure", [*KILLS, *LOST])
@pytest.mark.parametrize("call", range(CALLS_OF_A_RUN + 1))
@pytest.mark.parametrize("pause", [0, 890, 3600])
@pytest.mark.parametrize("check", [check_block, check_extension])
def test_block_is_bought_once_when_any_call_fails(check, call, failure, pause):
    check(UnreliableEc2(["ok"] * call + [failure], late=800, unseen=200, payments=1), [pause])


@pytest.mark.parametrize(("buy", "calls", "sends"), [(buy_block, 6, 3), (buy_extension, 7, 5)])
def test_every_call_of_a_run_was_made_to_fail(buy, calls, sends, tmp_path):
    made = []

    class Counting(UnreliableEc2):
        def _call(self, act, act_late):
            made.append(self.sent)
            return super()._call(act, act_late)

    buy(Counting([]), tmp_path)
    assert len(made) == calls <= CALLS_OF_A_RUN
    assert made.index(1) == sends
