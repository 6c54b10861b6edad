from datetime import datetime, timedelta, timezone

import botocore.session
import pytest

from torchneuron.capacity_blocks.countdown import describe
from torchneuron.core.text import duration

START = datetime(2026, 1, 12, 11, 30, tzinfo=timezone.utc)
END = START + timedelta(days=1)
RECLAIMED = END - timedelta(minutes=30)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(days=2, hours=3, minutes=59), "2 d 3 h"),
        (timedelta(days=2, minutes=59), "2 d"),
        (timedelta(hours=5, minutes=10, seconds=59), "5 h 10 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(minutes=7), "7 min"),
        (timedelta(seconds=59), "less than a minute"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(span, words):
    assert duration(span) == words


@pytest.mark.parametrize(
    ("state", "now", "outlook"),
    [
        ("scheduled", START - timedelta(days=2, hours=3), "starts in 2 d 3 h"),
        ("scheduled", START, "about to start"),
        ("payment-pending", START - timedelta(hours=4), "payment under way, starts in 4 h"),
        ("active", RECLAIMED - timedelta(hours=5, minutes=10), "instances are terminated in 5 h 10 min"),
        ("active", RECLAIMED, "instances are being terminated, ends in 30 min"),
        ("active", END, "ending"),
        ("expired", END + timedelta(days=1), "ended 1 d ago"),
        ("expired", START, "ended"),
        ("pending", START - timedelta(minutes=5), "starts in 5 min"),
        ("assessing", START - timedelta(days=2), "AWS is looking whether it can provide it, starts in 2 d"),
        ("delayed", START + timedelta(hours=2), "AWS is late: it was to start 2 h ago"),
        ("delayed", START - timedelta(hours=2), "starts in 2 h"),
        ("unavailable", START - timedelta(hours=2), "AWS cannot provide the capacity at the moment, starts in 2 h"),
        (
            "unavailable",
            RECLAIMED - timedelta(hours=2),
            "AWS cannot provide the capacity at the moment, instances are terminated in 2 h",
        ),
        ("payment-failed", START, "payment failed: AWS has released the block, and nothing was paid"),
        ("cancelled", START, "cancelled"),
        ("cancelling", START, "being cancelled: the capacity is released, charges go on until that is done"),
        ("failed", START, "failed: nothing was reserved"),
        ("unsupported", START, "AWS could not provide the capacity: nothing was reserved"),
        ("a-state-of-tomorrow", START, "a-state-of-tomorrow"),
    ],
)
def test_a_block_is_told_by_what_comes_next(state, now, outlook):
    assert describe(state, start=START, reclaimed=RECLAIMED, end=END, now=now) == outlook


def test_every_state_that_ec2_has_is_told_in_words():
    ec2 = botocore.session.get_session().get_service_model("ec2")
    states: list[str] = getattr(ec2.shape_for("CapacityReservationState"), "enum")  # noqa: B009
    assert len(states) >= 13
    for state in states:
        told = describe(state, start=START, reclaimed=RECLAIMED, end=END, now=START)
        assert told != state or state == "cancelled"


def test_an_on_demand_reservation_ends_without_ending_instances():
    hour_before = END - timedelta(hours=1)
    assert describe("active", start=START, reclaimed=None, end=END, now=hour_before) == "ends in 1 h"
    assert describe("active", start=START, reclaimed=None, end=None, now=START) == "until cancelled"
