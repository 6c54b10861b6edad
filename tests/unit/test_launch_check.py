"""Problems reported before a launch, or before a block is bought for one."""

import dataclasses

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.fakes import StandIn
from tests.unit.capacity_fakes import REGION, ZONE, refusal
from tests.unit.test_saved_block import DEFAULT_VPC, Ec2, subnet
from torchneuron.capacity_blocks.launch_check import Launch, check, format_problems, problems, refuse
from torchneuron.core import config
from torchneuron.core.errors import AccessError, InputError, NotFoundError, UnreachableError
from torchneuron.deploy.preflight import find_subnet, needs_subnet

SETTINGS = config.load(config.PROJECT_ROOT / "config.json")
AMI, OPEN, ELSEWHERE = "ami-0123456789abcdef0", "subnet-aaaaaaaa", "subnet-bbbbbbbb"
ON_DEMAND = Launch("trn2.3xlarge")
BLOCK = Launch("trn2.3xlarge", zone=ZONE, on_block=True)
BOUGHT = Launch("trn2.3xlarge", subnet_id=OPEN, on_block=True, reservation_id="cr-1")


class FakeEc2(Ec2):
    """Offers trn2.3xlarge, with 12 vCPUs, in one zone; `dry_run` is the error code of a launch."""

    dry_run = "DryRunOperation"

    def _pages_of_describe_instance_type_offerings(self, LocationType, Filters):  # noqa: N803 - boto3's own
        offered = [{"Location": ZONE}] if Filters[0]["Values"] == ["trn2.3xlarge"] else []
        yield {"InstanceTypeOfferings": offered}

    def describe_instance_types(self, InstanceTypes):  # noqa: N803
        return {"InstanceTypes": [{"VCpuInfo": {"DefaultVCpus": 12}}]}

    def describe_images(self, ImageIds):  # noqa: N803
        return {"Images": [{"ImageId": ImageIds[0], "RootDeviceName": "/dev/sda1"}]}

    def run_instances(self, **request):
        assert request["DryRun"] is True
        self.calls.append(("RunInstances", request))
        raise refusal(self.dry_run)


class FakeSsm(StandIn):
    def __init__(self, refused=""):
        self.refused = refused

    def get_parameter(self, Name):  # noqa: N803
        if self.refused:
            raise refusal(self.refused, f"{Name} is not a valid namespace.")
        return {"Parameter": {"Value": AMI}}


class Quotas:
    """vCPU quotas by code; others cannot be read."""

    def __init__(self, values):
        self.values = values

    def get_service_quota(self, ServiceCode, QuotaCode):  # noqa: N803
        if QuotaCode not in self.values:
            raise refusal("AccessDeniedException")
        return {"Quota": {"Value": self.values[QuotaCode]}}


class FakeAws(StandIn):
    """A region in which every check passes, unless a test changes it."""

    def __init__(self, quotas=None, *, region=REGION, ssm=None):
        self.region = region
        self._ec2, self._ssm, self._quotas = FakeEc2(), ssm or FakeSsm(), Quotas(quotas or {})
        self._ec2.vpcs = [{"VpcId": DEFAULT_VPC, "IsDefault": True, "CidrBlock": "172.31.0.0/16"}]
        self._ec2.subnets = [subnet(OPEN), subnet(ELSEWHERE, zone="sa-east-1c")]

    def ec2(self):
        return self._ec2

    def ssm(self):
        return self._ssm

    def service_quotas(self):
        return self._quotas


def refused(aws, launch=ON_DEMAND, kind=InputError):
    with pytest.raises(kind) as caught:
        refuse(aws, SETTINGS, launch)
    return caught.value


@pytest.mark.parametrize("launch", [ON_DEMAND, BLOCK, BOUGHT, dataclasses.replace(ON_DEMAND, subnet_id=OPEN)])
def test_launch_that_can_succeed_passes(launch):
    refuse(FakeAws({"L-2C3B7624": 24.0, "L-64569A79": 24.0}), SETTINGS, launch)
    refuse(FakeAws(), SETTINGS, launch)


def test_every_check_reports_what_it_found():
    found = {result.name: result.found for result in check(FakeAws({"L-64569A79": 24.0}), SETTINGS, BLOCK)}
    assert found == {
        "AMI": f"{AMI}, by {SETTINGS.ami_parameters[REGION]}",
        "instance type": f"trn2.3xlarge is offered in {ZONE}",
        "subnet": OPEN,
        "quota": "24 vCPUs (Concurrent TRN2 Capacity Blocks per account)",
        "launch permission": "the launch is allowed (dry run)",
    }


def test_dry_run_is_the_launch_of_the_stack():
    aws = FakeAws()
    refuse(aws, SETTINGS, BOUGHT)
    (request,) = [request for name, request in aws.ec2().calls if name == "RunInstances"]
    assert request["ImageId"] == AMI
    assert request["SubnetId"] == OPEN
    assert request["InstanceMarketOptions"] == {"MarketType": "capacity-block"}
    assert request["CapacityReservationSpecification"]["CapacityReservationTarget"] == {"CapacityReservationId": "cr-1"}
    assert request["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    assert {tags["ResourceType"] for tags in request["TagSpecifications"]} == {"instance", "volume"}


def test_type_must_be_offered_in_the_zone_of_the_subnet():
    error = refused(FakeAws(), dataclasses.replace(ON_DEMAND, subnet_id=ELSEWHERE))
    assert f"not offered in sa-east-1c, where the subnet {ELSEWHERE} is" in error.what
    assert f"subnet in {ZONE}" in error.do
    found = problems(FakeAws(), SETTINGS, Launch("trn9.large"))
    assert found[0].what == "AWS does not offer trn9.large in sa-east-1."


@pytest.mark.parametrize(
    ("launch", "code", "how"),
    [(ON_DEMAND, "L-2C3B7624", "on demand"), (BLOCK, "L-64569A79", "on Capacity Blocks")],
)
def test_quota_that_is_too_small_is_refused(launch, code, how):
    error = refused(FakeAws({code: 0.0}), dataclasses.replace(launch, count=2))
    assert error.what == f"2 x trn2.3xlarge need 24 vCPUs; the quota {how} is 0."
    assert f"--quota-code {code} --desired-value 24" in error.do


def test_quota_does_not_apply_to_a_block_already_bought():
    refuse(FakeAws({"L-64569A79": 0.0}), SETTINGS, BOUGHT)


@pytest.mark.parametrize("code", ["ParameterNotFound", "ValidationException"])
def test_region_without_the_ami_parameter_is_refused(code):
    error = refused(FakeAws(ssm=FakeSsm(code)), kind=NotFoundError)
    assert f"The AMI parameter {SETTINGS.ami_parameters[REGION]} does not exist in {REGION}." in error.what
    assert "aws ssm put-parameter --region sa-east-1" in error.do


def test_region_that_is_not_configured_is_refused():
    aws = FakeAws(region="eu-central-1")
    found = {result.name: result for result in check(aws, SETTINGS, ON_DEMAND)}
    assert "Region 'eu-central-1' is not configured." in found["AMI"].problem.what
    assert found["launch permission"].found == "not checked: needs the AMI"


@pytest.mark.attack("start a machine in a subnet that nothing leads out of")
def test_subnet_without_a_route_out_is_refused(capsys):
    aws = FakeAws()
    aws.ec2().closed = {OPEN}
    for launch in (ON_DEMAND, BLOCK):
        error = refused(aws, launch, NotFoundError)
        assert f"has no subnet in {ZONE} that reaches Systems Manager" in error.what
        assert f"{OPEN} has no default route" in error.why
        assert "aws ec2 create-route" in error.do
    error = refused(aws, BOUGHT)
    assert f"Systems Manager will not reach instances in {OPEN}." in error.what
    assert f"--subnet-id {OPEN}" in error.do
    refuse(aws, SETTINGS, dataclasses.replace(BOUGHT, is_named=True))
    assert f"Warning: Systems Manager will not reach instances in {OPEN}." in capsys.readouterr().err


def test_subnet_with_endpoints_of_systems_manager_is_accepted():
    aws = FakeAws()
    aws.ec2().closed = {OPEN}
    services = [f"com.amazonaws.{REGION}.{name}" for name in ("ssm", "ssmmessages")]
    aws.ec2().endpoints = [{"ServiceName": name, "State": "available"} for name in services]
    refuse(aws, SETTINGS, BOUGHT)


def test_subnet_without_public_addresses_needs_another_route_out():
    aws = FakeAws()
    aws.ec2().subnets[0]["MapPublicIpOnLaunch"] = False
    error = refused(aws, BOUGHT)
    assert "(igw-1) requires" in error.why
    assert f"modify-subnet-attribute --region {REGION} --subnet-id {OPEN} --map-public-ip-on-launch" in error.do


@pytest.mark.attack("deploy on demand after the default VPC was deleted")
def test_region_without_a_default_vpc_is_refused():
    aws = FakeAws()
    aws.ec2().vpcs = []
    error = refused(aws, kind=NotFoundError)
    assert "aws ec2 create-default-vpc --region sa-east-1" in error.do


def test_missing_permission_for_the_launch_is_named():
    aws = FakeAws()
    aws.ec2().dry_run = "UnauthorizedOperation"
    error = refused(aws, kind=AccessError)
    assert error.what.startswith("Could not try a launch: the permission ")


@pytest.mark.parametrize("code", ["VcpuLimitExceeded", "InsufficientInstanceCapacity", "Unsupported"])
def test_dry_run_refused_for_another_reason_is_not_a_permission_problem(code):
    aws = FakeAws()
    aws.ec2().dry_run = code
    refuse(aws, SETTINGS, BLOCK)


def test_all_problems_are_reported_together():
    aws = FakeAws({"L-64569A79": 0.0}, ssm=FakeSsm("ParameterNotFound"))
    aws.ec2().vpcs = []
    error = refused(aws, BLOCK)
    assert error.what == "trn2.3xlarge cannot be launched in sa-east-1. Nothing was changed."
    for part in ("- The AMI parameter", "- sa-east-1 has no default VPC", "the quota on Capacity Blocks is 0"):
        assert part in error.why
    assert format_problems(problems(aws, SETTINGS, BLOCK)) == error.why


def test_unreachable_service_is_an_error_not_a_problem():
    class Silent(FakeSsm):
        def get_parameter(self, Name):  # noqa: N803
            raise EndpointConnectionError(endpoint_url="https://ssm")

    with pytest.raises(UnreachableError):
        check(FakeAws(ssm=Silent()), SETTINGS, ON_DEMAND)


def test_data_volume_needs_a_subnet_in_a_zone_that_offers_the_type():
    assert needs_subnet(SETTINGS, {"dataVolumeSize": 100})
    assert not needs_subnet(SETTINGS, {"dataVolumeSize": 100, "useCapacityBlock": True})
    assert not needs_subnet(SETTINGS, {"dataVolumeSize": 100, "subnetId": OPEN})
    assert not needs_subnet(SETTINGS, {})
    assert needs_subnet(dataclasses.replace(SETTINGS, data_volume_size=100), {})
    assert find_subnet(FakeAws(), "trn2.3xlarge", ()) == OPEN
