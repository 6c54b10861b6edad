"""What is refused before a launch on a Capacity Block that could not succeed."""

import dataclasses
from datetime import timedelta

import pytest

from tests.unit.capacity_fakes import NOW, REGION, ZONE, FakeEc2, refusal, reservation
from tests.unit.test_saved_block import FakeSsm
from torchneuron import config
from torchneuron.errors import InputError, NotFoundError
from torchneuron.preflight import check_place, is_over, needs_subnet

BLOCK = "cr-0123456789abcdef0"
SAVED_SUBNET, OTHER_SUBNET = "subnet-aaaaaaaa", "subnet-bbbbbbbb"


class Quotas:
    """A quota of vCPUs, or none that can be read."""

    def __init__(self, value):
        self.value = value

    def get_service_quota(self, ServiceCode, QuotaCode):  # noqa: N803 - boto3's own
        if self.value is None:
            raise refusal("AccessDeniedException")
        assert (ServiceCode, QuotaCode) == ("ec2", "L-2C3B7624")
        return {"Quota": {"Value": self.value}}


class Ec2(FakeEc2):
    """Offers trn2.3xlarge, of 12 vCPUs, in one zone."""

    def _pages_of_describe_instance_type_offerings(self, LocationType, Filters):  # noqa: N803
        offered = [{"Location": ZONE}] if Filters[0]["Values"] == ["trn2.3xlarge"] else []
        yield {"InstanceTypeOfferings": offered}

    def describe_instance_types(self, InstanceTypes):  # noqa: N803
        return {"InstanceTypes": [{"VCpuInfo": {"DefaultVCpus": 12}}]}


class FakeAws:
    """A region with one active block, a subnet in its zone and one in another; `saved` is in Parameter Store."""

    region = REGION

    def __init__(self, saved, quota=None):
        self._ec2, self._ssm, self._quota = Ec2(), FakeSsm(**saved), quota
        self._ec2.reservations = [reservation(BLOCK, "active", TotalInstanceCount=4, AvailableInstanceCount=2)]
        self._ec2.subnets = [
            {"SubnetId": SAVED_SUBNET, "AvailabilityZone": ZONE},
            {"SubnetId": OTHER_SUBNET, "AvailabilityZone": "sa-east-1c"},
        ]

    def ec2(self):
        return self._ec2

    def ssm(self):
        return self._ssm

    def service_quotas(self):
        return Quotas(self._quota)


SETTINGS = config.load(config.PROJECT_ROOT / "config.json")


def check(saved=None, aws=None, launching=1, **named):
    deployment = SETTINGS.deployment({"region": REGION})
    aws = aws or FakeAws(saved or {})
    check_place(aws, dataclasses.replace(deployment, **{"use_capacity_block": True, **named}), launching=launching)


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


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"State": "scheduled"}, r"is scheduled, not active\.(?s:.*)invoke cb\.wait --until active"),
        ({"State": "expired"}, "is expired, not active"),
        ({"EndDate": NOW + timedelta(minutes=20)}, "can no longer be used: AWS takes its instances back"),
        ({"InstanceType": "trn2.48xlarge"}, r"is for trn2\.48xlarge, not trn2\.3xlarge(?s:.*)-t trn2\.48xlarge"),
    ],
)
def test_a_block_that_cannot_be_used_is_refused(changes, told):
    aws = FakeAws({"reservation": BLOCK, "subnet": SAVED_SUBNET})
    aws.ec2().reservations[0].update(changes)
    with pytest.raises(InputError, match=told):
        check(aws=aws)


def test_a_block_has_to_have_room_for_all_that_is_launched():
    check({"reservation": BLOCK, "subnet": SAVED_SUBNET}, launching=2)
    with pytest.raises(InputError, match="has room for 2 of the 3 machines to launch") as refused:
        check({"reservation": BLOCK, "subnet": SAVED_SUBNET}, launching=3)
    assert f"invoke cb.describe --reservation-id {BLOCK}" in refused.value.why


ON_DEMAND = {"use_capacity_block": False}


def test_on_demand_a_type_has_to_be_offered_where_the_subnet_is():
    check(**ON_DEMAND)
    check(**ON_DEMAND, subnet_id=SAVED_SUBNET)
    with pytest.raises(InputError, match=f"not offered in sa-east-1c.*(?s:.*)subnet in {ZONE}"):
        check(**ON_DEMAND, subnet_id=OTHER_SUBNET)
    with pytest.raises(InputError, match=r"does not offer trn9\.large in sa-east-1"):
        check(**ON_DEMAND, instance_type="trn9.large")


def test_a_quota_that_can_be_read_has_to_be_enough():
    for quota in (None, 24.0):
        check(aws=FakeAws({}, quota), **ON_DEMAND, launching=2)
    with pytest.raises(
        InputError, match=r"2 x trn2\.3xlarge have 24 vCPUs, and this account may run 0 on demand"
    ) as low:
        check(aws=FakeAws({}, 0.0), **ON_DEMAND, launching=2)
    assert "--quota-code L-2C3B7624 --desired-value 24" in low.value.do


def test_a_data_volume_gets_a_subnet_where_the_type_is_offered():
    assert needs_subnet(SETTINGS, {"dataVolumeSize": 100})
    assert not needs_subnet(SETTINGS, {"dataVolumeSize": 100, "useCapacityBlock": True})
    assert not needs_subnet(SETTINGS, {"dataVolumeSize": 100, "subnetId": SAVED_SUBNET})
    assert not needs_subnet(SETTINGS, {})
    assert needs_subnet(dataclasses.replace(SETTINGS, data_volume_size=100), {})


@pytest.mark.parametrize(
    ("changes", "over"),
    [({}, False), ({"State": "expired"}, True), ({"EndDate": NOW}, True), ({"CapacityReservationId": "cr-9"}, True)],
)
def test_a_block_is_over_once_nothing_can_run_on_it(changes, over):
    aws = FakeAws({})
    aws.ec2().reservations[0].update(changes)
    assert is_over(aws, BLOCK) == over
