from datetime import timedelta

import pytest

from tests.unit.capacity_fakes import NOW, REGION, START, FakeEc2, refusal, reservation
from torchneuron.capacity_blocks import reservations
from torchneuron.errors import AwsError, Declined, InputError, NotFoundError


def ec2_with(*found):
    ec2 = FakeEc2()
    ec2.reservations = list(found)
    return ec2


def test_list_has_the_blocks_only_by_start():
    ec2 = ec2_with(
        reservation("cr-late", StartDate=START + timedelta(days=1)),
        reservation("cr-on-demand", ReservationType="default"),
        reservation("cr-soon"),
    )
    assert [one.id for one in reservations.list_blocks(ec2, REGION)] == ["cr-soon", "cr-late"]


def test_a_block_before_its_start_has_its_size_from_the_tag():
    (block,) = reservations.list_blocks(ec2_with(reservation()), REGION)
    assert (block.count, block.available) == (1, 0)


def test_the_outlook_counts_from_the_time_aws_gave():
    block = reservations.describe(ec2_with(reservation()), REGION, "cr-1")
    assert block.seen == NOW
    assert block.outlook == "starts in 2 d 2 h"
    assert block.reclaimed == START + timedelta(hours=23, minutes=30)


def test_an_answer_without_a_date_is_taken_as_now():
    assert reservations.aws_time({}).utcoffset() == timedelta(0)


def test_an_unknown_id_is_told_with_its_region():
    with pytest.raises(NotFoundError, match="no capacity reservation cr-9 in sa-east-1"):
        reservations.describe(ec2_with(), REGION, "cr-9")


def test_another_refusal_keeps_awss_code():
    ec2 = ec2_with(reservation())

    def refuse():
        raise refusal("RequestLimitExceeded")

    ec2.on_describe = refuse
    with pytest.raises(AwsError) as refused:
        reservations.describe(ec2, REGION, "cr-1")
    assert refused.value.code == "RequestLimitExceeded"


def test_a_capacity_block_is_never_asked_to_be_cancelled():
    ec2 = ec2_with(reservation(Tags=[{"Key": "torchneuron:upfront-fee", "Value": "53.64 USD"}]))
    with pytest.raises(InputError, match="AWS never cancels one") as refused:
        reservations.cancel(ec2, REGION, "cr-1", agreed=lambda _: True)
    assert ec2.operations() == ["DescribeCapacityReservations"]
    assert "paid in full (53.64 USD)" in refused.value.why
    assert "starts in 2 d 2 h" in refused.value.why
    assert refused.value.exit_status != 0


def test_what_is_gone_has_nothing_to_cancel():
    with pytest.raises(InputError, match="expired already"):
        reservations.cancel(ec2_with(reservation(state="expired")), REGION, "cr-1", agreed=lambda _: True)


def test_an_on_demand_reservation_is_cancelled_after_a_yes():
    ec2 = ec2_with(reservation(state="active", ReservationType="default", EndDate=None))
    assert reservations.cancel(ec2, REGION, "cr-1", agreed=lambda _: True).state == "cancelled"


def test_an_on_demand_reservation_stays_after_a_no():
    ec2 = ec2_with(reservation(state="active", ReservationType="default"))
    with pytest.raises(Declined):
        reservations.cancel(ec2, REGION, "cr-1", agreed=lambda _: False)
    assert "CancelCapacityReservation" not in ec2.operations()


def test_a_block_that_lacks_members_is_still_listed():
    bare = {"CapacityReservationId": "cr-1", "ReservationType": "capacity-block"}
    (block,) = reservations.list_blocks(ec2_with(bare), REGION)
    assert (block.id, block.zone, block.state, block.start, block.end) == ("cr-1", "", "", NOW, None)


def test_an_answer_without_a_list_is_not_an_account_without_blocks():
    ec2 = FakeEc2()
    ec2._pages_of_describe_capacity_reservations = lambda: iter([{}])
    with pytest.raises(AwsError, match="makes no sense"):
        reservations.list_all(ec2, REGION)
