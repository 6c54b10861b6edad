from datetime import timedelta

import pytest

from tests.unit.capacity_fakes import NOW, REGION, START, FakeEc2, refusal, reservation
from torchneuron.aws.errors import aws_time
from torchneuron.capacity_blocks import reservations
from torchneuron.core.errors import AwsError, NotFoundError


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


@pytest.mark.parametrize("named", [{"InstanceType": "trn2u.48xlarge"}, {"LaunchStatus": "unlaunchable"}])
def test_ultraservers_are_taken_back_an_hour_before_the_end(named):
    block = reservations.describe(ec2_with(reservation(**named)), REGION, "cr-1")
    assert block.is_ultraserver
    assert block.reclaimed == START + timedelta(hours=23)


@pytest.mark.parametrize(("tag", "fee"), [("53.64 USD", "53.64"), ("", None), ("a lot", None), ("NaN USD", None)])
def test_the_price_paid_is_what_our_tag_says_if_it_says_one(tag, fee):
    block = reservations.describe(
        ec2_with(reservation(Tags=[{"Key": "torchneuron:upfront-fee", "Value": tag}])), REGION, "cr-1"
    )
    assert (str(block.fee.amount) if block.fee else None) == fee


def test_an_answer_without_a_date_is_taken_as_now():
    assert aws_time({}).utcoffset() == timedelta(0)


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


def test_a_block_that_lacks_members_is_still_listed():
    bare = {"CapacityReservationId": "cr-1", "ReservationType": "capacity-block"}
    (block,) = reservations.list_blocks(ec2_with(bare), REGION)
    assert (block.id, block.zone, block.state, block.start, block.end) == ("cr-1", "", "", NOW, None)


def test_an_answer_without_a_list_is_not_an_account_without_blocks():
    ec2 = FakeEc2()
    ec2._pages_of_describe_capacity_reservations = lambda: iter([{}])
    with pytest.raises(AwsError, match="makes no sense"):
        reservations.list_all(ec2, REGION)
