"""What is refused before an on-demand launch that could not succeed."""

import dataclasses

import pytest

from tests.unit.capacity_fakes import REGION, ZONE, FakeEc2, refusal
from torchneuron import config
from torchneuron.errors import InputError
from torchneuron.preflight import check_on_demand, needs_subnet

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
    """A region with a subnet in the zone that offers the type, and one in another."""

    region = REGION

    def __init__(self, quota=None):
        self._ec2, self._quota = Ec2(), quota
        self._ec2.subnets = [
            {"SubnetId": SAVED_SUBNET, "AvailabilityZone": ZONE},
            {"SubnetId": OTHER_SUBNET, "AvailabilityZone": "sa-east-1c"},
        ]

    def ec2(self):
        return self._ec2

    def service_quotas(self):
        return Quotas(self._quota)


SETTINGS = config.load(config.PROJECT_ROOT / "config.json")


def check(aws=None, launching=1, **named):
    deployment = dataclasses.replace(SETTINGS.deployment({"region": REGION}), **named)
    check_on_demand(aws or FakeAws(), deployment, launching=launching)


def test_on_demand_a_type_has_to_be_offered_where_the_subnet_is():
    check()
    check(subnet_id=SAVED_SUBNET)
    with pytest.raises(InputError, match=f"not offered in sa-east-1c.*(?s:.*)subnet in {ZONE}"):
        check(subnet_id=OTHER_SUBNET)
    with pytest.raises(InputError, match=r"does not offer trn9\.large in sa-east-1"):
        check(instance_type="trn9.large")


def test_a_quota_that_can_be_read_has_to_be_enough():
    for quota in (None, 24.0):
        check(aws=FakeAws(quota), launching=2)
    with pytest.raises(
        InputError, match=r"2 x trn2\.3xlarge have 24 vCPUs, and this account may run 0 on demand"
    ) as low:
        check(aws=FakeAws(0.0), launching=2)
    assert "--quota-code L-2C3B7624 --desired-value 24" in low.value.do


def test_a_data_volume_gets_a_subnet_where_the_type_is_offered():
    assert needs_subnet(SETTINGS, {"dataVolumeSize": 100})
    assert not needs_subnet(SETTINGS, {"dataVolumeSize": 100, "useCapacityBlock": True})
    assert not needs_subnet(SETTINGS, {"dataVolumeSize": 100, "subnetId": SAVED_SUBNET})
    assert not needs_subnet(SETTINGS, {})
    assert needs_subnet(dataclasses.replace(SETTINGS, data_volume_size=100), {})
