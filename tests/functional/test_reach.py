"""An instance that Systems Manager does not reach, and what is said of it: against an AWS that refuses as AWS does."""

import json

import pytest
from moto.ec2.models import ec2_backends

from tests.functional.support import AMI_PARAMETER, eventually
from torchneuron.connectivity.online import online, wait_until_online
from torchneuron.core.errors import NotFoundError
from torchneuron.setup.document import AMAZONS, Request
from torchneuron.setup.run_command import Commands, Targets

REGION = "sa-east-1"
CORE = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
OTHER = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


@pytest.fixture
def profile(client):
    """Makes an instance profile, whose role has the policies unless it is to have no role."""
    iam = client("iam")

    def make(name, *policies, role=True):
        iam.create_instance_profile(InstanceProfileName=name)
        if role:
            trust = json.dumps({"Version": "2012-10-17", "Statement": []})
            iam.create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=trust)
            for one in policies:
                iam.attach_role_policy(RoleName=f"{name}-role", PolicyArn=one)
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=f"{name}-role")
        return name

    return make


@pytest.fixture
def launch(ec2, ssm):
    """Launches an instance with a profile, or without one; its id."""
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]

    def go(name="", **more):
        if name:
            more["IamInstanceProfile"] = {"Name": name}
        made = ec2.run_instances(ImageId=image, InstanceType="inf2.xlarge", MinCount=1, MaxCount=1, **more)
        return made["Instances"][0]["InstanceId"]

    return go


@pytest.fixture
def told(aws):
    """The error about instances that are not waited for."""

    def about(*ids, seconds=0.0):
        with pytest.raises(NotFoundError) as refused:
            wait_until_online(aws, ids, seconds=seconds)
        print(refused.value, "\n")
        return refused.value

    return about


@pytest.fixture
def unreached(machines):
    """Hosts that never boot."""
    machines.prepare = lambda machine: machine.may_boot.clear()


@pytest.fixture
def private_subnet(ec2):
    """A subnet of a VPC of its own, with its main route table, that nothing leads out of."""
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    return ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24", AvailabilityZone="sa-east-1c")["Subnet"]


def test_one_that_is_reached_is_not_looked_into(aws, ssm, launch, profile, control):
    one = launch(profile("good", CORE))
    wait_until_online(aws, [one], seconds=120)
    assert online(ssm, [one]) == {one}
    assert "iam" not in {service for service, times in control("calls").items() if "GetInstanceProfile" in times}


def test_an_id_that_is_nowhere(told):
    error = told("i-0123456789abcdef0")
    assert error.what == "Systems Manager does not reach i-0123456789abcdef0: no such instance here."
    assert "has no instance i-0123456789abcdef0 in sa-east-1" in error.why


def test_a_terminated_one(ec2, told, launch):
    one = launch()
    ec2.terminate_instances(InstanceIds=[one])
    error = told(one)
    assert error.what.endswith(": not running.")
    assert "It is terminated" in error.why


def test_a_stopped_one_is_not_waited_for(told, launch):
    one = launch()
    ec2_backends["123456789012"][REGION].stop_instances([one])
    error = told(one, seconds=60)
    assert error.what.endswith(": not running.")
    assert f"aws ec2 start-instances --region sa-east-1 --instance-ids {one}" in error.do


def test_one_that_went_before_the_command_came(aws, launch):
    one, amazons = launch(), Request(None, (), {"commands": ["true"]})
    with pytest.raises(NotFoundError, match=f"does not reach {one} any more") as refused:
        Commands(aws.ssm(), aws.ssm_once(), "tests").send(amazons, AMAZONS, Targets((one,)))
    assert f"--region sa-east-1 --filters Key=InstanceIds,Values={one}" in refused.value.do


def test_one_without_a_profile(told, launch):
    one = launch()
    error = told(one)
    assert error.what == f"Systems Manager does not reach {one}: role."
    lacks, either = (
        "It has no instance profile, so its agent has no credentials.",
        "Default Host Management Configuration",
    )
    assert error.why == f"{lacks} {either} is off, too."
    assert f"aws ec2 associate-iam-instance-profile --region sa-east-1 --instance-id {one}" in error.do
    assert "within an hour" in error.do


@pytest.mark.parametrize("policies", [(), (OTHER,)])
def test_a_role_whose_policies_do_not_let_it_in(told, launch, profile, policies):
    error = told(launch(profile("bare", *policies)))
    assert error.what.endswith(": role.")
    assert "Its role bare-role does not allow" in error.why
    assert f"aws iam attach-role-policy --role-name bare-role --policy-arn {CORE}" in error.do


def test_a_profile_without_a_role(told, launch, profile):
    error = told(launch(profile("empty", role=False)))
    assert "empty has no role in it" in error.why


def test_a_host_that_boots(told, launch, profile, unreached):
    error = told(launch(profile("good", CORE)))
    assert error.what.endswith(": still starting.")
    assert "aws ec2 get-console-output" in error.do
    assert error.do.endswith("Add --wait to wait for it.")


def test_waiting_ends(told, launch, profile, unreached):
    one = launch(profile("good", CORE))
    assert told(one, seconds=0.3).what == f"Systems Manager does not reach {one} after 0 s: still starting."


def test_a_host_that_should_have_booted(told, launch, profile, unreached, control):
    one = launch(profile("good", CORE))
    control("clock", {"advance_seconds": 3600})
    error = told(one)
    assert error.what.endswith(": agent.")
    assert "never registered" in error.why
    assert "sudo systemctl restart amazon-ssm-agent" in error.do


def test_a_subnet_without_a_way_out(ec2, told, launch, profile, unreached, private_subnet):
    where = {"SubnetId": private_subnet["SubnetId"]}
    one = launch(profile("good", CORE), **where)
    error = told(one)
    assert error.what.endswith(": network.")
    assert f"{private_subnet['SubnetId']} has no default route" in error.why
    assert f"{private_subnet['VpcId']} has no endpoint of its own for ssm and ssmmessages either" in error.why
    assert "aws ec2 create-route" in error.do
    assert "com.amazonaws.sa-east-1.ssmmessages" in error.do
    for service in ("ssm", "ssmmessages"):
        what = {"ServiceName": f"com.amazonaws.{REGION}.{service}", "VpcEndpointType": "Interface"}
        ec2.create_vpc_endpoint(VpcId=private_subnet["VpcId"], SubnetIds=[], **what)
    assert told(one).what.endswith(": still starting.")


def test_a_gateway_without_an_address(ec2, told, launch, profile, unreached, private_subnet):
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=private_subnet["VpcId"])
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [private_subnet["VpcId"]]}])[
        "RouteTables"
    ]
    ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    error = told(launch(profile("good", CORE), SubnetId=private_subnet["SubnetId"]))
    assert f"It has no public IP address, and its subnet's way out, {gateway}, needs one." in error.why


def test_security_groups_that_let_nothing_out(ec2, told, launch, profile, unreached):
    group = ec2.create_security_group(GroupName="shut", Description="shut")["GroupId"]
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
    error = told(launch(profile("good", CORE), SecurityGroupIds=[group]))
    assert error.what.endswith(": network.")
    assert f"({group}) lets HTTPS out" in error.why


def test_several_at_once_are_each_told(ssm, told, launch, profile):
    good, bare = launch(profile("good", CORE)), [launch(), launch()]
    eventually(lambda: online(ssm, [good]) == {good})
    error = told(good, *bare, "i-0123456789abcdef0")
    assert error.what == "Systems Manager does not reach 3 of 4 instances."
    assert f"{bare[0]}, {bare[1]}: role. It has no instance profile" in error.why
    assert "i-0123456789abcdef0: no such instance here. " in error.why
    assert f"For {bare[0]}, and alike for 1 more:" in error.do


@pytest.mark.parametrize(
    ("operation", "code", "missing"),
    [
        ("GetInstanceProfile", "AccessDenied", "GetInstanceProfile"),
        ("ListAttachedRolePolicies", "AccessDenied", "ListAttachedRolePolicies"),
        ("DescribeRouteTables", "UnauthorizedOperation", "ec2:DescribeRouteTables"),
        ("DescribeSecurityGroups", "UnauthorizedOperation", "ec2:DescribeSecurityGroups"),
        ("GetServiceSetting", "AccessDeniedException", "GetServiceSetting"),
    ],
)
def test_what_may_not_be_looked_at_hides_nothing_else(
    told, launch, profile, unreached, control, fail, operation, code, missing
):
    one = launch(profile("good", CORE))
    control("clock", {"advance_seconds": 3600})
    fail(operation, "error", code=code)
    error = told(one)
    assert error.what.endswith(": agent.")
    assert f"the permission {missing} is missing. Who may look: aws " in error.why


def test_where_instances_may_not_be_looked_at(told, launch, unreached, fail):
    fail("DescribeInstances", "error", code="UnauthorizedOperation")
    error = told(launch())
    assert error.what.endswith(": unknown.")
    assert "Who may look: aws ec2 describe-instances" in error.why
