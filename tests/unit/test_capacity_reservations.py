from datetime import timedelta

import botocore.session
import pytest

from tests.unit.capacity_fakes import NOW, REGION, START, FakeEc2, refusal, reservation
from torchneuron.aws.errors import aws_time
from torchneuron.capacity_blocks import reservations
from torchneuron.capacity_blocks.reservations import outlook
from torchneuron.core.errors import AwsError, NotFoundError
from torchneuron.core.text import duration

END = START + timedelta(days=1)
RECLAIMED = END - timedelta(minutes=30)


def ec2_with(*found):
    ec2 = FakeEc2()
    ec2.reservations = list(found)
    return ec2


def test_list_has_only_blocks_sorted_by_start():
    ec2 = ec2_with(
        reservation("cr-late", StartDate=START + timedelta(days=1)),
        reservation("cr-on-demand", ReservationType="default"),
        reservation("cr-soon"),
    )
    assert [block.id for block in reservations.list_blocks(ec2, REGION)] == ["cr-soon", "cr-late"]


def test_size_of_a_block_before_its_start_comes_from_the_tag():
    (block,) = reservations.list_blocks(ec2_with(reservation()), REGION)
    assert (block.count, block.available) == (1, 0)


def test_outlook_counts_from_the_time_of_the_response():
    block = reservations.describe(ec2_with(reservation()), REGION, "cr-1")
    assert block.seen == NOW
    assert block.outlook == "starts in 2 d 2 h"
    assert block.reclaimed == START + timedelta(hours=23, minutes=30)


@pytest.mark.parametrize("named", [{"InstanceType": "trn2u.48xlarge"}, {"LaunchStatus": "unlaunchable"}])
def test_ultraservers_are_reclaimed_an_hour_before_the_end(named):
    block = reservations.describe(ec2_with(reservation(**named)), REGION, "cr-1")
    assert block.is_ultraserver
    assert block.reclaimed == START + timedelta(hours=23)


@pytest.mark.parametrize(("tag", "fee"), [("53.64 USD", "53.64"), ("", None), ("a lot", None), ("NaN USD", None)])
def test_fee_comes_from_the_price_tag(tag, fee):
    block = reservations.describe(
        ec2_with(reservation(Tags=[{"Key": "torchneuron:upfront-fee", "Value": tag}])), REGION, "cr-1"
    )
    assert (str(block.fee.amount) if block.fee else None) == fee


def test_response_without_a_date_counts_as_now():
    assert aws_time({}).utcoffset() == timedelta(0)


def test_unknown_id_is_reported_with_its_region():
    with pytest.raises(NotFoundError, match="cr-9 does not exist in sa-east-1"):
        reservations.describe(ec2_with(), REGION, "cr-9")


def test_other_refusal_keeps_the_error_code():
    ec2 = ec2_with(reservation())

    def refuse():
        raise refusal("RequestLimitExceeded")

    ec2.on_describe = refuse
    with pytest.raises(AwsError) as refused:
        reservations.describe(ec2, REGION, "cr-1")
    assert refused.value.code == "RequestLimitExceeded"


def test_block_with_missing_members_is_still_listed():
    bare = {"CapacityReservationId": "cr-1", "ReservationType": "capacity-block"}
    (block,) = reservations.list_blocks(ec2_with(bare), REGION)
    assert (block.id, block.zone, block.state, block.start, block.end) == ("cr-1", "", "", NOW, None)


def test_response_without_a_list_is_not_an_account_without_blocks():
    ec2 = FakeEc2()
    ec2._pages_of_describe_capacity_reservations = lambda: iter([{}])
    with pytest.raises(AwsError, match="unexpected response"):
        reservations.list_all(ec2, REGION)


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
def test_duration_has_the_two_largest_units(span, words):
    assert duration(span) == words


@pytest.mark.parametrize(
    ("state", "now", "expected"),
    [
        ("scheduled", START - timedelta(days=2, hours=3), "starts in 2 d 3 h"),
        ("scheduled", START, "about to start"),
        ("payment-pending", START - timedelta(hours=4), "payment pending, starts in 4 h"),
        ("active", RECLAIMED - timedelta(hours=5, minutes=10), "instances are terminated in 5 h 10 min"),
        ("active", RECLAIMED, "instances are being terminated, ends in 30 min"),
        ("active", END, "ending"),
        ("expired", END + timedelta(days=1), "ended 1 d ago"),
        ("expired", START, "ended"),
        ("pending", START - timedelta(minutes=5), "starts in 5 min"),
        ("assessing", START - timedelta(days=2), "AWS is checking whether it can provide it, starts in 2 d"),
        ("delayed", START + timedelta(hours=2), "AWS is late: it was due 2 h ago"),
        ("delayed", START - timedelta(hours=2), "starts in 2 h"),
        ("unavailable", START - timedelta(hours=2), "AWS cannot provide the capacity at the moment, starts in 2 h"),
        (
            "unavailable",
            RECLAIMED - timedelta(hours=2),
            "AWS cannot provide the capacity at the moment, instances are terminated in 2 h",
        ),
        ("payment-failed", START, "payment failed: AWS has released the block, and nothing was paid"),
        ("cancelled", START, "cancelled"),
        ("cancelling", START, "being cancelled: the capacity is released, charges continue until that is done"),
        ("failed", START, "failed: nothing was reserved"),
        ("unsupported", START, "AWS could not provide the capacity: nothing was reserved"),
        ("a-state-of-tomorrow", START, "a-state-of-tomorrow"),
    ],
)
def test_outlook_says_what_happens_next(state, now, expected):
    assert outlook(state, start=START, reclaimed=RECLAIMED, end=END, now=now) == expected


def test_every_state_of_ec2_has_an_outlook():
    ec2 = botocore.session.get_session().get_service_model("ec2")
    states: list[str] = getattr(ec2.shape_for("CapacityReservationState"), "enum")  # noqa: B009
    assert len(states) >= 13
    for state in states:
        text = outlook(state, start=START, reclaimed=RECLAIMED, end=END, now=START)
        assert text != state or state == "cancelled"


def test_on_demand_reservation_ends_without_terminating_instances():
    hour_before = END - timedelta(hours=1)
    assert outlook("active", start=START, reclaimed=None, end=END, now=hour_before) == "ends in 1 h"
    assert outlook("active", start=START, reclaimed=None, end=None, now=START) == "until cancelled"
