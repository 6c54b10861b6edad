"""What is refused before a launch on a Capacity Block that could not succeed."""

import dataclasses

import pytest

from tests.unit.capacity_fakes import REGION, ZONE, FakeEc2, reservation
from tests.unit.test_saved_block import FakeSsm
from torchneuron import config
from torchneuron.errors import InputError, NotFoundError
from torchneuron.preflight import check_block

BLOCK = "cr-0123456789abcdef0"
SAVED_SUBNET, OTHER_SUBNET = "subnet-aaaaaaaa", "subnet-bbbbbbbb"


class FakeAws:
    """A region with one active block, a subnet in its zone and one in another; `saved` is in Parameter Store."""

    region = REGION

    def __init__(self, saved):
        self._ec2, self._ssm = FakeEc2(), FakeSsm(**saved)
        self._ec2.reservations = [reservation(BLOCK, "active")]
        self._ec2.subnets = [
            {"SubnetId": SAVED_SUBNET, "AvailabilityZone": ZONE},
            {"SubnetId": OTHER_SUBNET, "AvailabilityZone": "sa-east-1c"},
        ]

    def ec2(self):
        return self._ec2

    def ssm(self):
        return self._ssm


def check(saved=None, **named):
    deployment = config.load(config.PROJECT_ROOT / "config.json").deployment({"region": REGION})
    check_block(FakeAws(saved or {}), dataclasses.replace(deployment, use_capacity_block=True, **named))


def test_the_saved_block_in_its_subnet_passes():
    check({"reservation": BLOCK, "subnet": SAVED_SUBNET})


def test_a_named_block_that_is_the_saved_one_takes_the_saved_subnet():
    check({"reservation": BLOCK, "subnet": SAVED_SUBNET}, capacity_reservation_id=BLOCK)


@pytest.mark.parametrize("saved", [{}, {"reservation": "cr-0fedcba9876543210", "subnet": SAVED_SUBNET}])
def test_a_named_block_never_takes_the_subnet_of_another(saved):
    with pytest.raises(InputError, match=r"(?s)No subnet is known.*--subnet-id.*cb\.save-params"):
        check(saved, capacity_reservation_id=BLOCK)


def test_a_named_block_with_a_named_subnet_needs_nothing_saved():
    check(capacity_reservation_id=BLOCK, subnet_id=SAVED_SUBNET)


@pytest.mark.parametrize(
    ("saved", "named"),
    [
        ({"reservation": BLOCK, "subnet": OTHER_SUBNET}, {}),
        ({"reservation": BLOCK, "subnet": SAVED_SUBNET}, {"subnet_id": OTHER_SUBNET}),
        ({}, {"capacity_reservation_id": BLOCK, "subnet_id": OTHER_SUBNET}),
    ],
)
def test_a_subnet_in_another_zone_is_refused(saved, named):
    with pytest.raises(InputError, match=f"is in sa-east-1c, and the Capacity Block {BLOCK} is in {ZONE}"):
        check(saved, **named)


def test_a_subnet_that_does_not_exist_is_refused():
    with pytest.raises(NotFoundError, match="no subnet subnet-cccccccc"):
        check(capacity_reservation_id=BLOCK, subnet_id="subnet-cccccccc")
