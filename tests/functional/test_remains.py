"""What a deploy that was killed left in the account: found by its tags, and removed by the commands that are shown."""

import json

import pytest

from tests.functional.aws_cli import AwsCli
from tests.functional.support import AMI_PARAMETER
from torchneuron.deploy import orphans

REGION, ELSEWHERE = "sa-east-1", "us-east-2"
PROJECT = "a-project"
INLINE = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2messages:*", "Resource": "*"}]}
)
CORE = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"


def tags(project=PROJECT, managed="torchneuron", **more):
    return [{"Key": key, "Value": value} for key, value in {"Project": project, "ManagedBy": managed, **more}.items()]


@pytest.fixture
def make(client):
    """Makes one of each kind that a deploy makes, in one region, as Terraform tags them; their ids."""

    def go(name, region=REGION, marked=(), marked_in_iam=()):
        ec2, iam, secrets = (client(service, region) for service in ("ec2", "iam", "secretsmanager"))
        marked = marked or tags()
        marked_in_iam = marked_in_iam or [*marked, {"Key": "Region", "Value": region}]
        trust = json.dumps({"Version": "2012-10-17", "Statement": []})
        group = ec2.create_security_group(
            GroupName=name,
            Description=name,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": marked}],
        )
        template = ec2.create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData={"InstanceType": "trn2.3xlarge"},
            TagSpecifications=[{"ResourceType": "launch-template", "Tags": marked}],
        )
        secret = secrets.create_secret(Name=name, SecretString="x", Tags=marked)
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, Tags=marked_in_iam)
        iam.attach_role_policy(RoleName=name, PolicyArn=CORE)
        iam.put_role_policy(RoleName=name, PolicyName="machine", PolicyDocument=INLINE)
        iam.create_instance_profile(InstanceProfileName=f"{name}-p", Tags=marked_in_iam)
        iam.add_role_to_instance_profile(InstanceProfileName=f"{name}-p", RoleName=name)
        return {group["GroupId"], template["LaunchTemplate"]["LaunchTemplateId"], secret["ARN"], name, f"{name}-p"}

    return go


@pytest.fixture
def told(aws, capsys):
    """What is said of a project's remains."""

    def say(project=PROJECT, known=()):
        orphans.warn(aws, project, known=known)
        return capsys.readouterr().err

    return say


def test_where_nothing_is_left_nothing_is_said(told):
    assert told() == ""


def test_the_commands_that_are_shown_remove_all_of_it_and_nothing_else(make, told, rehearsal_endpoint):
    make(f"{PROJECT}-1")
    kept = make(f"{PROJECT}-of-another-1", marked=tags(f"{PROJECT}-of-another"))
    said = told()
    assert said.startswith("Warning: some things have this project's tags, and are in no state")
    commands = [line.strip().removeprefix("aws ") for line in said.splitlines() if line.startswith("  aws ")]
    assert [command.split(" --")[0] for command in commands] == [
        "ec2 delete-security-group",
        "ec2 delete-launch-template",
        "secretsmanager delete-secret",
        "iam remove-role-from-instance-profile",
        "iam delete-instance-profile",
        "iam delete-role-policy",
        "iam detach-role-policy",
        "iam delete-role",
    ]
    assert not any(one in said.split() for one in kept)
    cli = AwsCli({}, "")  # the region is in the commands
    for command in commands:
        cli(command)
    assert told() == ""
    assert told(f"{PROJECT}-of-another").count("  aws ") == 8


@pytest.mark.parametrize(
    "others",
    [
        {"marked": tags("another")},
        {"marked": tags(managed="somebody")},
        {"region": ELSEWHERE},
        {"marked": tags("another"), "marked_in_iam": tags()},  # of a region nobody knows
    ],
)
def test_what_is_not_this_deployments_is_not_named(make, told, others):
    make(f"{PROJECT}-1", **others)
    assert told() == ""


def test_what_was_removed_just_now_may_be_listed_for_some_time(make, told):
    assert told(known=make(f"{PROJECT}-1")) == ""


def test_what_is_gone_between_the_list_and_the_look_is_not_named(make, told, fail):
    make(f"{PROJECT}-1")
    fail("GetRole", "error", code="NoSuchEntity", status=404)
    assert "iam delete-instance-profile" in (said := told())
    assert "iam delete-role" not in said
    assert "cannot be seen" not in said


def test_data_volumes_are_told_by_themselves_and_only_those_that_no_machine_has(client, told):
    ec2 = client("ec2")
    data = [*tags(), {"Key": "torchneuron:volume", "Value": "data"}]

    image = client("ssm").get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]
    machine = ec2.run_instances(ImageId=image, InstanceType="inf2.xlarge", MinCount=1, MaxCount=1)["Instances"][0]
    zone = machine["Placement"]["AvailabilityZone"]

    def volume(marked):
        made = ec2.create_volume(
            AvailabilityZone=zone, Size=8, TagSpecifications=[{"ResourceType": "volume", "Tags": marked}]
        )
        return made["VolumeId"]

    loose, kept, root, used = volume(data), volume(data), volume(tags()), volume(data)
    ec2.attach_volume(VolumeId=used, InstanceId=machine["InstanceId"], Device="/dev/sdf")
    said = told(known=[kept])
    assert "There may be data on them." in said
    assert f"aws ec2 delete-volume --region {REGION} --volume-id {loose}" in said
    assert not any(one in said for one in (kept, root, used))
    assert told(known=[kept, loose]) == ""


def test_what_may_not_be_looked_at_is_said_beside_what_may(make, told, faults):
    make(f"{PROJECT}-1")
    denied = {"kind": "error", "code": "AccessDenied", "status": 403}
    faults(*({"operation": one, **denied} for one in ("ListRoles", "GetInstanceProfile", "ListSecrets")))
    said = told()
    assert [command for command in ("security-group", "launch-template", "role") if f"delete-{command}" in said] == [
        "security-group",
        "launch-template",
    ]
    (unseen,) = [line for line in said.splitlines() if "cannot be seen" in line]
    assert "list secrets" in unseen
    assert "list roles" in unseen
    assert f"look at {PROJECT}-1-p" in unseen


def test_there_may_be_many_roles(make, client, told):
    iam = client("iam")
    for number in range(120):
        iam.create_role(RoleName=f"a-{number}", AssumeRolePolicyDocument="{}")
    make(f"{PROJECT}-1")
    assert f"aws iam delete-role --region {REGION} --role-name {PROJECT}-1" in told()
