"""The Capacity Block a deploy launches on, and launches refused because of one."""

import dataclasses
from datetime import timedelta

import pytest

from tests.fakes import StandIn
from tests.unit.capacity_fakes import NOW, REGION, ZONE, refusal, reservation
from tests.unit.test_saved_block import DEFAULT_VPC, Ec2, FakeSsm, subnet
from torchneuron.capacity_blocks import reservations
from torchneuron.capacity_blocks.block_choice import (
    Place,
    choose,
    current_id,
    is_over,
    require_launch_choice,
    save_current,
    saved_block_to_keep,
)
from torchneuron.core import config
from torchneuron.core.errors import InputError, NotFoundError

BLOCK, NEXT, LATER = "cr-0123456789abcdef0", "cr-0123456789abcdef1", "cr-0123456789abcdef2"
SAVED_SUBNET, FOUND_SUBNET, OTHER_SUBNET = "subnet-aaaaaaaa", "subnet-bbbbbbbb", "subnet-cccccccc"
SAVED = {"reservation": BLOCK, "subnet": SAVED_SUBNET}
DEPLOYMENT = dataclasses.replace(
    config.load(config.PROJECT_ROOT / "config.json").deployment({"region": REGION}), use_capacity_block=True
)


def active(reservation_id=BLOCK, *, hours=20, **changes):
    end = NOW + timedelta(hours=hours)
    room = {"TotalInstanceCount": 4, "AvailableInstanceCount": 2}
    return reservation(
        reservation_id, "active", **{"StartDate": NOW - timedelta(hours=4), "EndDate": end, **room, **changes}
    )


def scheduled(reservation_id=NEXT, *, hours=96, **changes):
    start = NOW + timedelta(hours=hours)
    return reservation(reservation_id, StartDate=start, EndDate=start + timedelta(hours=24), **changes)


class FakeAws(StandIn):
    """A region with `blocks`, two subnets of the default VPC in their zone, and `saved` in Parameter Store."""

    region = REGION

    def __init__(self, *blocks, saved=SAVED):
        self._ec2, self._ssm = Ec2(), FakeSsm(**saved)
        self._ec2.reservations = list(blocks)
        self._ec2.vpcs = [{"VpcId": DEFAULT_VPC, "IsDefault": True, "CidrBlock": "172.31.0.0/16"}]
        self._ec2.subnets = [
            subnet(SAVED_SUBNET, free=1),
            subnet(FOUND_SUBNET),
            subnet(OTHER_SUBNET, zone="sa-east-1c"),
        ]

    def ec2(self):
        return self._ec2

    def ssm(self):
        return self._ssm


def chosen(aws, launching=1, **named):
    return choose(aws, dataclasses.replace(DEPLOYMENT, **named), launching=launching)


def refused(aws, launching=1, kind=InputError, **named):
    with pytest.raises(kind) as caught:
        chosen(aws, launching, **named)
    return caught.value


def test_saved_block_is_used_in_its_saved_subnet():
    assert chosen(FakeAws(active())) == Place(BLOCK, SAVED_SUBNET)
    assert chosen(FakeAws(active()), capacity_reservation_id=BLOCK) == Place(BLOCK, SAVED_SUBNET)
    assert chosen(FakeAws(active(), active(NEXT, hours=90))) == Place(BLOCK, SAVED_SUBNET)


@pytest.mark.parametrize("saved", [{}, {"reservation": LATER, "subnet": OTHER_SUBNET}])
def test_named_block_does_not_use_the_subnet_of_another(saved):
    assert chosen(FakeAws(active(), saved=saved), capacity_reservation_id=BLOCK) == Place(BLOCK, FOUND_SUBNET)


def test_named_block_with_a_named_subnet_does_not_read_parameters():
    aws = FakeAws(active(), saved={})
    assert chosen(aws, capacity_reservation_id=BLOCK, subnet_id=SAVED_SUBNET) == Place(BLOCK, SAVED_SUBNET)
    assert aws.ssm().operations == []


@pytest.mark.attack("buy a second block for later while the first is active, then deploy on the saved one")
def test_active_block_is_used_instead_of_a_saved_scheduled_one(capsys):
    aws = FakeAws(active(), scheduled(), saved={"reservation": NEXT, "subnet": SAVED_SUBNET})
    assert chosen(aws) == Place(BLOCK, FOUND_SUBNET)
    assert f"Using the Capacity Block {BLOCK}: instances are terminated in 19 h 30 min." in capsys.readouterr().err


def test_active_block_that_is_not_saved_is_used():
    assert chosen(FakeAws(active(), saved={})) == Place(BLOCK, FOUND_SUBNET)


@pytest.mark.parametrize(
    "first",
    [
        active(AvailableInstanceCount=0),
        active(hours=0.4),
        active(InstanceType="trn2.48xlarge"),
        reservation(BLOCK, "expired"),
        active(ReservationType="default"),
    ],
)
def test_block_with_room_is_used_instead_of_an_unusable_saved_one(first):
    aws = FakeAws(first, active(NEXT, hours=30), active(LATER, hours=50))
    assert chosen(aws) == Place(LATER, FOUND_SUBNET)


def test_named_subnet_selects_the_block_in_its_zone():
    aws = FakeAws(active(), active(NEXT, AvailabilityZone="sa-east-1c"))
    assert chosen(aws, subnet_id=OTHER_SUBNET) == Place(NEXT, OTHER_SUBNET)


@pytest.mark.parametrize(
    ("saved", "named"),
    [
        ({"reservation": BLOCK, "subnet": OTHER_SUBNET}, {}),
        (SAVED, {"subnet_id": OTHER_SUBNET}),
        ({}, {"capacity_reservation_id": BLOCK, "subnet_id": OTHER_SUBNET}),
    ],
)
def test_subnet_in_another_zone_is_refused(saved, named):
    error = refused(FakeAws(active(), saved=saved), **named)
    assert f"is in sa-east-1c, and the Capacity Block {BLOCK} is in {ZONE}" in error.what


def test_subnet_that_does_not_exist_is_refused():
    error = refused(FakeAws(active()), kind=NotFoundError, capacity_reservation_id=BLOCK, subnet_id="subnet-dddddddd")
    assert "no subnet subnet-dddddddd" in error.what


@pytest.mark.parametrize(
    ("block", "what", "do"),
    [
        (scheduled(BLOCK), "is scheduled, not active.", "invoke cb.wait --until active"),
        (reservation(BLOCK, "expired"), "is expired, not active", "invoke cb.search"),
        (active(hours=0.4), "can no longer be used: AWS terminates its instances", "invoke cb.extend"),
        (active(InstanceType="trn2.48xlarge"), "is for trn2.48xlarge, not trn2.3xlarge", "-t trn2.48xlarge"),
        (active(ReservationType="default"), "is an on-demand reservation, not a Capacity Block", "invoke cb.list"),
    ],
)
def test_block_that_cannot_be_used_is_refused(block, what, do):
    error = refused(FakeAws(block))
    assert what in error.what
    assert do in error.do


def test_block_needs_room_for_all_instances():
    assert chosen(FakeAws(active()), launching=2) == Place(BLOCK, SAVED_SUBNET)
    error = refused(FakeAws(active()), launching=3)
    assert "has room for 2 of the 3 instances to launch" in error.what
    assert f"invoke cb.describe --reservation-id {BLOCK}" in error.why


def test_refusal_lists_other_usable_blocks_with_their_commands():
    blocks = [
        active(AvailableInstanceCount=0),
        active(NEXT),
        scheduled(LATER),
        active("cr-4", InstanceType="inf2.xlarge"),
    ]
    error = refused(FakeAws(*blocks), capacity_reservation_id=BLOCK)
    assert error.do.splitlines()[1:] == [
        "Other blocks that can be used:",
        f"  {NEXT}: trn2.3xlarge in {ZONE}, active, 2 of 4 free, instances are terminated in 19 h 30 min",
        f"    invoke deploy --use-capacity-block --capacity-reservation-id {NEXT} -t trn2.3xlarge -r {REGION}",
        f"  {LATER}: trn2.3xlarge in {ZONE}, scheduled, for 1, starts in 4 d",
        f"    invoke cb.wait --until active --reservation-id {LATER} -r {REGION}"
        f" && invoke deploy --use-capacity-block --capacity-reservation-id {LATER} -t trn2.3xlarge -r {REGION}",
    ]


def test_refusal_without_an_active_block_lists_scheduled_ones():
    error = refused(FakeAws(scheduled(), saved={}), kind=NotFoundError)
    assert "No Capacity Block is saved for sa-east-1" in error.what
    assert f"invoke cb.wait --until active --reservation-id {NEXT}" in error.do
    assert "Other blocks" not in refused(FakeAws(saved={}), kind=NotFoundError).do


@pytest.mark.attack("deploy without an option while a paid block is free or about to start")
@pytest.mark.parametrize(
    ("block", "first"),
    [(active(), ""), (scheduled(hours=23), f"invoke cb.wait --until active --reservation-id {NEXT} -r {REGION} && ")],
)
def test_launch_with_a_matching_paid_block_is_refused_with_both_commands(block, first):
    with pytest.raises(InputError, match="You have a Capacity Block for trn2") as caught:
        require_launch_choice(FakeAws(block, saved={}), "trn2.3xlarge")
    assert block["CapacityReservationId"] in caught.value.why
    assert f"  {first}invoke deploy -t trn2.3xlarge -r sa-east-1 --use-capacity-block" in caught.value.do.splitlines()
    assert "  invoke deploy -t trn2.3xlarge -r sa-east-1 --on-demand" in caught.value.do.splitlines()


@pytest.mark.parametrize(
    "block",
    [
        active(AvailableInstanceCount=0),
        active(hours=0.4),
        active(InstanceType="trn2.48xlarge"),
        active(ReservationType="default"),
        scheduled(hours=25),
        reservation(BLOCK, "payment-failed"),
    ],
)
def test_block_that_does_not_match_does_not_refuse_a_launch(block):
    require_launch_choice(FakeAws(block), "trn2.3xlarge")


@pytest.mark.attack("buy a block for next week while the saved one is active")
@pytest.mark.parametrize(
    ("saved", "kept"),
    [
        (active(), True),
        (active(AvailableInstanceCount=0), True),
        (scheduled(BLOCK, hours=48), True),
        (scheduled(BLOCK, hours=120), False),
        (active(hours=0.4), False),
        (reservation(BLOCK, "expired"), False),
        (reservation("cr-0fedcba9876543210"), False),
    ],
)
def test_purchase_does_not_replace_a_saved_block_that_is_usable_earlier(saved, kept):
    aws = FakeAws(saved, scheduled())
    bought = reservations.describe(aws.ec2(), REGION, NEXT)
    to_keep = saved_block_to_keep(aws, bought)
    assert (to_keep.id if to_keep else None) == (BLOCK if kept else None)


def test_purchase_is_saved_if_no_other_block_is():
    for saved in ({}, {"reservation": NEXT, "subnet": SAVED_SUBNET}):
        aws = FakeAws(scheduled(), saved=saved)
        assert saved_block_to_keep(aws, reservations.describe(aws.ec2(), REGION, NEXT)) is None


def test_block_in_use_is_saved_once_the_saved_one_is_over(capsys):
    place = Place(NEXT, FOUND_SUBNET)
    aws = FakeAws(active(), active(NEXT))
    save_current(aws, "p", place)
    assert aws.ssm().values["/capacity-block/sa-east-1/reservation-id"] == BLOCK
    aws = FakeAws(reservation(BLOCK, "expired"), active(NEXT))
    save_current(aws, "p", place)
    assert aws.ssm().values["/capacity-block/sa-east-1/reservation-id"] == NEXT
    assert aws.ssm().values["/capacity-block/sa-east-1/subnet-id"] == FOUND_SUBNET
    assert f"{NEXT} is saved as the current block of sa-east-1." in capsys.readouterr().err


def test_failure_to_save_the_block_in_use_is_a_warning(capsys):
    aws = FakeAws(reservation(BLOCK, "expired"), active(NEXT))
    aws.ssm().broken = refusal("AccessDeniedException")
    save_current(aws, "p", Place(NEXT, FOUND_SUBNET))
    assert f"Warning: {NEXT} is not saved as the current block" in capsys.readouterr().err


def test_current_block_is_the_saved_one_or_the_next_once_that_is_over():
    assert current_id(FakeAws(active(), scheduled())) == BLOCK
    assert current_id(FakeAws(reservation(BLOCK, "expired"), scheduled(LATER, hours=99), scheduled())) == NEXT
    assert current_id(FakeAws(reservation(BLOCK, "expired"))) == BLOCK


@pytest.mark.parametrize(
    ("block", "over"),
    [(active(), False), (reservation(BLOCK, "expired"), True), (active(hours=0), True), (active("cr-9"), True)],
)
def test_block_is_over_once_no_instance_can_run_on_it(block, over):
    assert is_over(FakeAws(block), BLOCK) == over
