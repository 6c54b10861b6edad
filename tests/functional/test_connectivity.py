"""The errors about instances that Systems Manager does not reach, against a rehearsal."""

import json

import pytest
from moto.ec2.models import ec2_backends

from tests.functional.support import AMI_PARAMETER, eventually
from torchneuron.connectivity.online import online_instances, wait_until_online
from torchneuron.core.errors import NotFoundError
from torchneuron.setup.document import AMAZONS, Request
from torchneuron.setup.run_command import CommandTargets, RunCommand

REGION = "sa-east-1"
CORE = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
OTHER = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


@pytest.fixture
def profile(client):
    """Creates an instance profile and, unless `role` is False, its role with the policies."""
    iam = client("iam")

    def make(name, *policies, role=True):
        iam.create_instance_profile(InstanceProfileName=name)
        if role:
            trust = json.dumps({"Version": "2012-10-17", "Statement": []})
            iam.create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=trust)
            for policy in policies:
                iam.attach_role_policy(RoleName=f"{name}-role", PolicyArn=policy)
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=f"{name}-role")
        return name

    return make


@pytest.fixture
def launch(ec2, ssm):
    """Launches an instance, with a profile if one is named, and returns its id."""
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]

    def run(name="", **request):
        if name:
            request["IamInstanceProfile"] = {"Name": name}
        response = ec2.run_instances(ImageId=image, InstanceType="inf2.xlarge", MinCount=1, MaxCount=1, **request)
        return response["Instances"][0]["InstanceId"]

    return run


@pytest.fixture
def error_about(aws):
    """Returns the error about instances that are not online within `seconds`."""

    def wait(*ids, seconds=0.0):
        with pytest.raises(NotFoundError) as raised:
            wait_until_online(aws, ids, seconds=seconds)
        print(raised.value, "\n")
        return raised.value

    return wait


@pytest.fixture
def never_booting(machines):
    """Hosts that never boot."""
    machines.prepare = lambda machine: machine.may_boot.clear()


@pytest.fixture
def private_subnet(ec2):
    """A subnet of a new VPC, without a default route."""
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    return ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24", AvailabilityZone="sa-east-1c")["Subnet"]


def test_an_online_instance_is_not_diagnosed(aws, ssm, launch, profile, control):
    instance_id = launch(profile("good", CORE))
    wait_until_online(aws, [instance_id], seconds=120)
    assert online_instances(ssm, [instance_id]) == {instance_id}
    assert "iam" not in {service for service, times in control("calls").items() if "GetInstanceProfile" in times}


def test_unknown_id(error_about):
    error = error_about("i-0123456789abcdef0")
    assert error.what == "Systems Manager does not reach i-0123456789abcdef0: instance not found."
    assert "has no instance i-0123456789abcdef0 in sa-east-1" in error.why


def test_terminated_instance(ec2, error_about, launch):
    instance_id = launch()
    ec2.terminate_instances(InstanceIds=[instance_id])
    error = error_about(instance_id)
    assert error.what.endswith(": not running.")
    assert "It is terminated" in error.why


def test_stopped_instance_is_not_waited_for(error_about, launch):
    instance_id = launch()
    ec2_backends["123456789012"][REGION].stop_instances([instance_id])
    error = error_about(instance_id, seconds=60)
    assert error.what.endswith(": not running.")
    assert f"aws ec2 start-instances --region sa-east-1 --instance-ids {instance_id}" in error.do


def test_instance_that_goes_offline_before_a_command(aws, launch):
    instance_id, amazons = launch(), Request(None, (), {"commands": ["true"]})
    with pytest.raises(NotFoundError, match=f"no longer reaches {instance_id}") as raised:
        RunCommand(aws.ssm(), aws.ssm_once(), "tests").send(amazons, AMAZONS, CommandTargets((instance_id,)))
    assert f"--region sa-east-1 --filters Key=InstanceIds,Values={instance_id}" in raised.value.do


def test_instance_without_a_profile(error_about, launch):
    instance_id = launch()
    error = error_about(instance_id)
    assert error.what == f"Systems Manager does not reach {instance_id}: role problem."
    assert error.why == (
        "It has no instance profile, so its agent has no credentials."
        " Default Host Management Configuration is off as well."
    )
    assert f"aws ec2 associate-iam-instance-profile --region sa-east-1 --instance-id {instance_id}" in error.do
    assert "within an hour" in error.do


@pytest.mark.parametrize("policies", [(), (OTHER,)])
def test_role_with_insufficient_policies(error_about, launch, profile, policies):
    error = error_about(launch(profile("bare", *policies)))
    assert error.what.endswith(": role problem.")
    assert "Its role bare-role does not allow" in error.why
    assert f"aws iam attach-role-policy --role-name bare-role --policy-arn {CORE}" in error.do


def test_profile_without_a_role(error_about, launch, profile):
    error = error_about(launch(profile("empty", role=False)))
    assert "empty has no role" in error.why


def test_booting_host(error_about, launch, profile, never_booting):
    error = error_about(launch(profile("good", CORE)))
    assert error.what.endswith(": still starting.")
    assert "aws ec2 get-console-output" in error.do
    assert error.do.endswith("Add --wait to wait for it.")


def test_waiting_ends_after_the_given_time(error_about, launch, profile, never_booting):
    instance_id = launch(profile("good", CORE))
    assert (
        error_about(instance_id, seconds=0.3).what
        == f"Systems Manager does not reach {instance_id} after 0 s: still starting."
    )


def test_host_that_should_have_booted(error_about, launch, profile, never_booting, control):
    instance_id = launch(profile("good", CORE))
    control("clock", {"advance_seconds": 3600})
    error = error_about(instance_id)
    assert error.what.endswith(": SSM agent problem.")
    assert "never registered" in error.why
    assert "sudo systemctl restart amazon-ssm-agent" in error.do


def test_subnet_without_a_default_route(ec2, error_about, launch, profile, never_booting, private_subnet):
    where = {"SubnetId": private_subnet["SubnetId"]}
    instance_id = launch(profile("good", CORE), **where)
    error = error_about(instance_id)
    assert error.what.endswith(": network problem.")
    assert f"{private_subnet['SubnetId']} has no default route" in error.why
    assert f"{private_subnet['VpcId']} has no endpoint for ssm and ssmmessages either" in error.why
    assert "aws ec2 create-route" in error.do
    assert "com.amazonaws.sa-east-1.ssmmessages" in error.do
    for service in ("ssm", "ssmmessages"):
        what = {"ServiceName": f"com.amazonaws.{REGION}.{service}", "VpcEndpointType": "Interface"}
        ec2.create_vpc_endpoint(VpcId=private_subnet["VpcId"], SubnetIds=[], **what)
    assert error_about(instance_id).what.endswith(": still starting.")


def test_internet_gateway_without_a_public_ip(ec2, error_about, launch, profile, never_booting, private_subnet):
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=private_subnet["VpcId"])
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [private_subnet["VpcId"]]}])[
        "RouteTables"
    ]
    ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    error = error_about(launch(profile("good", CORE), SubnetId=private_subnet["SubnetId"]))
    assert f"It has no public IP address, which the default route of its subnet ({gateway}) requires." in error.why


def test_security_groups_without_egress(ec2, error_about, launch, profile, never_booting):
    group = ec2.create_security_group(GroupName="shut", Description="shut")["GroupId"]
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
    error = error_about(launch(profile("good", CORE), SecurityGroupIds=[group]))
    assert error.what.endswith(": network problem.")
    assert f"({group}) allows outbound HTTPS" in error.why


def test_several_instances_are_each_diagnosed(ssm, error_about, launch, profile):
    good, bare = launch(profile("good", CORE)), [launch(), launch()]
    eventually(lambda: online_instances(ssm, [good]) == {good})
    error = error_about(good, *bare, "i-0123456789abcdef0")
    assert error.what == "Systems Manager does not reach 3 of 4 instances."
    assert f"{bare[0]}, {bare[1]}: role problem. It has no instance profile" in error.why
    assert "i-0123456789abcdef0: instance not found. " in error.why
    assert f"For {bare[0]}, and likewise for 1 more:" in error.do


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
def test_a_denied_lookup_does_not_stop_the_others(
    error_about, launch, profile, never_booting, control, fail, operation, code, missing
):
    instance_id = launch(profile("good", CORE))
    control("clock", {"advance_seconds": 3600})
    fail(operation, "error", code=code)
    error = error_about(instance_id)
    assert error.what.endswith(": SSM agent problem.")
    assert f"the permission {missing} is missing. To check it: aws " in error.why


def test_denied_instance_lookup(error_about, launch, never_booting, fail):
    fail("DescribeInstances", "error", code="UnauthorizedOperation")
    error = error_about(launch())
    assert error.what.endswith(": unknown cause.")
    assert "To check it: aws ec2 describe-instances" in error.why
