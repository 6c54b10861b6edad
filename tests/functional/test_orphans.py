"""Resources that a killed deploy left: found by their tags, and deleted by the commands shown."""

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
    """Creates a resource of each kind that a deploy creates, with Terraform's tags, and returns their ids."""

    def create(name, region=REGION, marked=(), marked_in_iam=()):
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
        iam.put_role_policy(RoleName=name, PolicyName="instance", PolicyDocument=INLINE)
        iam.create_instance_profile(InstanceProfileName=f"{name}-p", Tags=marked_in_iam)
        iam.add_role_to_instance_profile(InstanceProfileName=f"{name}-p", RoleName=name)
        return {group["GroupId"], template["LaunchTemplate"]["LaunchTemplateId"], secret["ARN"], name, f"{name}-p"}

    return create


@pytest.fixture
def warnings(aws, capsys):
    """Returns the warnings about a project's orphans."""

    def warn(project=PROJECT, known=()):
        orphans.warn(aws, project, known=known)
        return capsys.readouterr().err

    return warn


def test_no_warning_without_orphans(warnings):
    assert warnings() == ""


def test_the_commands_shown_delete_all_orphans_and_nothing_else(make, warnings, rehearsal_endpoint):
    make(f"{PROJECT}-1")
    kept = make(f"{PROJECT}-of-another-1", marked=tags(f"{PROJECT}-of-another"))
    shown = warnings()
    assert shown.startswith("Warning: some resources have this project's tags and are in no state")
    commands = [line.strip().removeprefix("aws ") for line in shown.splitlines() if line.startswith("  aws ")]
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
    assert not any(id_ in shown.split() for id_ in kept)
    cli = AwsCli({}, "")  # the region is in the commands
    for command in commands:
        cli(command)
    assert warnings() == ""
    assert warnings(f"{PROJECT}-of-another").count("  aws ") == 8


@pytest.mark.parametrize(
    "others",
    [
        {"marked": tags("another")},
        {"marked": tags(managed="somebody")},
        {"region": ELSEWHERE},
        {"marked": tags("another"), "marked_in_iam": tags()},  # of a region nobody knows
    ],
)
def test_resources_of_others_are_not_listed(make, warnings, others):
    make(f"{PROJECT}-1", **others)
    assert warnings() == ""


def test_known_ids_are_not_listed(make, warnings):
    assert warnings(known=make(f"{PROJECT}-1")) == ""


def test_a_role_deleted_during_the_search_is_not_listed(make, warnings, fail):
    make(f"{PROJECT}-1")
    fail("GetRole", "error", code="NoSuchEntity", status=404)
    assert "iam delete-instance-profile" in (shown := warnings())
    assert "iam delete-role" not in shown
    assert "is incomplete" not in shown


def test_unattached_data_volumes_have_a_warning_of_their_own(client, warnings):
    ec2 = client("ec2")
    data = [*tags(), {"Key": "torchneuron:volume", "Value": "data"}]

    image = client("ssm").get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]
    instance = ec2.run_instances(ImageId=image, InstanceType="inf2.xlarge", MinCount=1, MaxCount=1)["Instances"][0]
    zone = instance["Placement"]["AvailabilityZone"]

    def volume(tag_list):
        created = ec2.create_volume(
            AvailabilityZone=zone, Size=8, TagSpecifications=[{"ResourceType": "volume", "Tags": tag_list}]
        )
        return created["VolumeId"]

    loose, kept, root, used = volume(data), volume(data), volume(tags()), volume(data)
    ec2.attach_volume(VolumeId=used, InstanceId=instance["InstanceId"], Device="/dev/sdf")
    shown = warnings(known=[kept])
    assert "They may hold data." in shown
    assert f"aws ec2 delete-volume --region {REGION} --volume-id {loose}" in shown
    assert not any(id_ in shown for id_ in (kept, root, used))
    assert warnings(known=[kept, loose]) == ""


def test_denied_lookups_are_reported_with_the_other_results(make, warnings, faults):
    make(f"{PROJECT}-1")
    denied = {"kind": "error", "code": "AccessDenied", "status": 403}
    faults(*({"operation": operation, **denied} for operation in ("ListRoles", "GetInstanceProfile", "ListSecrets")))
    shown = warnings()
    assert [command for command in ("security-group", "launch-template", "role") if f"delete-{command}" in shown] == [
        "security-group",
        "launch-template",
    ]
    (incomplete,) = [line for line in shown.splitlines() if "is incomplete" in line]
    assert "list secrets" in incomplete
    assert "list roles" in incomplete
    assert f"look up {PROJECT}-1-p" in incomplete


def test_roles_are_listed_across_pages(make, client, warnings):
    iam = client("iam")
    for number in range(120):
        iam.create_role(RoleName=f"a-{number}", AssumeRolePolicyDocument="{}")
    make(f"{PROJECT}-1")
    assert f"aws iam delete-role --region {REGION} --role-name {PROJECT}-1" in warnings()
