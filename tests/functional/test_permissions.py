"""Each command runs with its own policy only, and uses everything that the policy allows.

Commands that run Terraform are in tests/e2e/test_permissions.py.
"""

import json
import shutil
from datetime import timedelta

import pytest
from moto.s3.models import s3_backends
from moto.ssm.models import ssm_backends

from rehearsal.hosts.host import KILLED, ScriptResult
from tests.functional.asking import allowed, asked
from tests.functional.principals import clients_of, denied, user_with
from tests.functional.rehearsal_support import PERMITTING, certificate, make_profile
from tests.functional.support import AMI_PARAMETER, eventually
from torchneuron.core import tags as project_tags
from torchneuron.setup.document import NAME_PREFIX

ACCOUNT, REGION = "123456789012", "sa-east-1"
# AWS checks these as part of another operation, such as tags of a new resource; a rehearsal sees only that operation.
IMPLICIT = {"ec2:CreateTags", "ssm:AddTagsToResource", "s3:PutBucketOwnershipControls"}
# Called in rare cases only: Terraform reading a parameter, undoing a save that failed part-way, a document that is not
# active at once, the endpoints of a VPC without a default route.
RARE = {"ssm:GetParameter", "ssm:DeleteParameter", "ssm:DescribeDocument", "ec2:DescribeVpcEndpoints"}


@pytest.fixture
def used_by(client, control, invoke, monkeypatch):
    """Makes calls as a user with the policy of a command, and returns the IAM actions that they used."""

    def run(command, *calls):
        keys = user_with(client("iam"), command.replace(".", "-"), invoke("doctor", "--policy", command).out)
        with monkeypatch.context() as patch:
            for name, value in keys.items():
                patch.setenv(name, value)
            return {action for call in calls for action in asked(lambda: control("calls"), call)}

    return run


@pytest.fixture
def exactly(used_by):
    """Checks that a command works with its policy and uses all that it allows, except for the actions above."""

    def check(command, *calls, others=frozenset()):
        used = used_by(command, *calls) | others
        assert used - allowed(command) == set()
        assert allowed(command) - used - IMPLICIT - RARE == set()

    return check


def test_searching(exactly, invoke):
    exactly("cb.search", lambda: invoke("cb.search", "-r", "all", "--suggest"))


def test_buying_and_saving(exactly, invoke, proposed):
    words = ["--offering-id", proposed[0], "-r", REGION, "--yes"]
    exactly(
        "cb.purchase",
        lambda: invoke("cb.purchase", *words, "--dry-run"),
        lambda: invoke("cb.purchase", *words),
    )


def test_extending(exactly, invoke, bought):
    words = ["--reservation-id", bought, "-d", "24", "-r", REGION, "--yes"]
    exactly("cb.extend", lambda: invoke("cb.extend", *words, "--dry-run"), lambda: invoke("cb.extend", *words))


def test_listing(exactly, invoke, bought):
    exactly("cb.list", lambda: invoke("cb.list", "-r", REGION))
    exactly("cb.describe", lambda: invoke("cb.describe", "--reservation-id", bought, "-r", REGION))


def test_waiting(exactly, invoke, bought, ec2, move_clock):
    (block,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    move_clock(block["StartDate"])
    exactly("cb.wait", lambda: invoke("cb.wait", "--until", "active", "-r", REGION))


def test_cancelling(exactly, invoke, bought, ec2):
    made = ec2.create_capacity_reservation(
        InstanceType="trn2.3xlarge", InstancePlatform="Linux/UNIX", AvailabilityZone="sa-east-1b", InstanceCount=1
    )["CapacityReservation"]["CapacityReservationId"]
    exactly(
        "cb.cancel",
        lambda: invoke("cb.cancel", "--reservation-id", bought, "-r", REGION, "--yes", status=1),
        lambda: invoke("cb.cancel", "--reservation-id", made, "-r", REGION, "--yes"),
    )


def test_saving_and_loading(exactly, invoke, bought, ssm):
    ssm.delete_parameter(Name=f"/capacity-block/{REGION}/end")
    save = ["cb.save-params", "--reservation-id", bought, "-r", REGION]
    exactly("cb.save-params", lambda: invoke(*save))
    exactly("cb.load-params", lambda: invoke("cb.load-params", "-r", REGION))


def test_creating_the_state_bucket(exactly, invoke):
    exactly("bootstrap", lambda: invoke("bootstrap", "-r", REGION))


def test_doctor(exactly, invoke):
    exactly("doctor", lambda: invoke("doctor", "-r", REGION, status=1))


@pytest.fixture
def instance(ec2, ssm, client, machines, config):
    """An instance whose role lets it register, and where every script succeeds except for those with `go-wrong`."""

    def succeeding(machine):
        def run(script):
            if "openssl req" in script.text:
                return ScriptResult(0, certificate(), "", "exited")
            if "take-long" in script.text:
                return ScriptResult(KILLED, "", "", "cancelled" if script.cancelled.wait(30) else "timed-out")
            return ScriptResult(int("go-wrong" in script.text), "done\n", "", "exited")

        machine.run = run

    machines.prepare = succeeding
    made = ec2.run_instances(
        ImageId=ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"],
        InstanceType="inf2.xlarge",
        MinCount=1,
        MaxCount=1,
        IamInstanceProfile={"Name": make_profile(client("iam"), "permitted", PERMITTING)},
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": project_tags.to_aws(project_tags.for_project(config.project_name))}
        ],
    )["Instances"][0]["InstanceId"]
    eventually(lambda: ssm.describe_instance_information()["InstanceInformationList"])
    return made


@pytest.fixture
def unreached(ec2, ssm, client):
    """An instance in a subnet without a default route, whose customer managed policies do not let it register."""
    iam = client("iam")
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    )
    policy = iam.create_policy(PolicyName="own", PolicyDocument=document)["Policy"]["Arn"]
    make_profile(iam, "own", policy)
    iam.put_role_policy(RoleName="own", PolicyName="inline", PolicyDocument=document)
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24", AvailabilityZone="sa-east-1c")["Subnet"]["SubnetId"]
    return ec2.run_instances(
        ImageId=ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"],
        InstanceType="inf2.xlarge",
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        IamInstanceProfile={"Name": "own"},
    )["Instances"][0]["InstanceId"]


def test_setting_up(used_by, invoke, instance, client, config):
    """With the instance and the secret named; otherwise setup looks them up first, like `info`."""
    secret = client("secretsmanager").create_secret(
        Name=f"{config.project_name}-some", SecretString="quite-a-long-password"
    )["ARN"]
    words = ["setup", "-i", instance, "-r", REGION, "-s", secret]
    assert used_by("setup", lambda: invoke(*words)) - allowed("setup") == set()


def test_running_tasks(exactly, invoke, instance, unreached, tmp_path, ssm, client, config):
    file = tmp_path / "tasks.json"
    task = {"id": "01-one", "name": "One", "description": "", "commands": ["true"]}
    failing = {**task, "id": "02-two", "commands": ["go-wrong"]}
    file.write_text(json.dumps({"tasks": [task, failing]}))
    words = ["run-tasks", "--file", str(file), "-r", REGION]
    secret = client("secretsmanager").create_secret(Name="some-secret", SecretString="some text")["ARN"]

    def with_secrets():
        two = {"STORED": {"secret": True}, "KEPT": {"secret": True, "value": "ssm:/team/token"}}
        use = {**task, "commands": ['[ "$STORED" = "$KEPT" ]']}
        file.write_text(json.dumps({"variables": two, "tasks": [use]}))
        invoke(*words, "-i", instance, "--var", f"STORED=secretsmanager:{secret}")

    def from_another_machine():
        shutil.rmtree(config.state_dir)
        invoke(*words, "-i", instance, "--clean-state", status=1)

    def with_an_orphaned_document():
        name = f"{NAME_PREFIX}{config.project_name}-left"
        content = {"schemaVersion": "2.2", "mainSteps": [{"action": "aws:runShellScript", "name": "s", "inputs": {}}]}
        tags = project_tags.to_aws(project_tags.for_project(config.project_name))
        ssm.create_document(Name=name, Content=json.dumps(content), DocumentType="Command", Tags=tags)
        (left,) = (documents for key, documents in ssm_backends[ACCOUNT][REGION]._documents.items() if key == name)
        left.get_default_version().created_date -= timedelta(days=8)
        file.write_text(json.dumps({"tasks": [task]}))
        invoke(*words, "-i", instance, "--clean-state")
        assert name not in ssm_backends[ACCOUNT][REGION]._documents

    def one_by_one():
        invoke(*words, "-i", instance, "--clean-state", "--mode", "step")

    def with_a_running_command():
        ssm.send_command(
            InstanceIds=[instance],
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": ["take-long"]},
            Comment="torchneuron setup of somebody else's",
        )
        eventually(lambda: ssm.list_command_invocations(Filters=[{"key": "Status", "value": "InProgress"}]))
        invoke("run-tasks", "--cancel", "-r", REGION, "-i", instance)

    exactly(
        "run-tasks",
        lambda: invoke(*words, "-i", instance, status=1),
        lambda: invoke(*words, "-i", unreached, status=2),
        from_another_machine,
        lambda: invoke(*words, "-i", instance, "--clean-state", status=1),
        with_secrets,
        with_an_orphaned_document,
        one_by_one,
        with_a_running_command,
        others=allowed("info") & allowed("run-tasks"),
    )


@pytest.fixture
def ann(client, invoke, rehearsal_endpoint):
    """Clients of a user with the policy of all commands: `ann("ec2")`."""
    return clients_of(
        rehearsal_endpoint, user_with(client("iam"), "ann", invoke("doctor", "--policy", "all").out), REGION
    )


@pytest.fixture
def foreign(launch):
    """An instance of another project, managed by Systems Manager."""
    (made,) = launch(tags={"Project": "other"})
    return made


@pytest.mark.attack("ends, stops, changes or tags somebody else's machine with the policy of this project's commands")
def test_instances_of_others_cannot_be_changed(ann, ec2, foreign):
    volume = ec2.create_volume(AvailabilityZone="sa-east-1a", Size=1)["VolumeId"]
    mine = ann("ec2")
    for attack in (
        lambda: mine.terminate_instances(InstanceIds=[foreign]),
        lambda: mine.stop_instances(InstanceIds=[foreign]),
        lambda: mine.modify_instance_attribute(InstanceId=foreign, DisableApiTermination={"Value": False}),
        lambda: mine.delete_volume(VolumeId=volume),
        lambda: mine.attach_volume(VolumeId=volume, InstanceId=foreign, Device="/dev/sdf"),
        lambda: mine.create_tags(
            Resources=[foreign], Tags=project_tags.to_aws(project_tags.for_project("torchneuron-code-server"))
        ),
        lambda: mine.delete_tags(Resources=[foreign], Tags=[{"Key": "Project"}]),
        lambda: mine.create_volume(AvailabilityZone="sa-east-1a", Size=1),
    ):
        with denied("UnauthorizedOperation"):
            attack()


@pytest.mark.attack(
    "runs commands or opens a session on somebody else's machine with the policy of this project's commands"
)
def test_commands_cannot_run_on_instances_of_others(ann, ssm, foreign):
    mine = ann("ssm")
    name = f"{NAME_PREFIX}torchneuron-code-server-mine"
    step = {"action": "aws:runShellScript", "name": "step", "inputs": {"runCommand": ["true"]}}
    content = json.dumps({"schemaVersion": "2.2", "mainSteps": [step]})
    tags = project_tags.to_aws(project_tags.for_project("torchneuron-code-server"))
    mine.create_document(Name=name, Content=content, DocumentType="Command", Tags=tags)
    scripts = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["true"]}}
    for attack in (
        lambda: mine.send_command(InstanceIds=[foreign], DocumentName=name),
        lambda: mine.send_command(InstanceIds=[foreign], **scripts),
        lambda: mine.send_command(Targets=[{"Key": "tag:Project", "Values": ["other"]}], **scripts),
        lambda: mine.start_session(Target=foreign, DocumentName="AWS-StartPortForwardingSession"),
    ):
        with denied("AccessDeniedException", f"instance/{foreign}"):
            attack()


@pytest.mark.attack("opens a root shell on the project's machine with a policy for port forwarding")
def test_sessions_forward_ports_only(ann, instance):
    with denied("AccessDeniedException", "document/SSM-SessionManagerRunShell"):
        ann("ssm").start_session(Target=instance)
    with denied("AccessDeniedException", "document/AWS-StartSSHSession"):
        ann("ssm").start_session(Target=instance, DocumentName="AWS-StartSSHSession")


@pytest.mark.attack("reads or deletes another project's secret or documents, or creates a document with another name")
def test_secrets_and_documents_of_others_are_denied(ann, client, document):
    other = document(("step", ["out done"]), name=f"{NAME_PREFIX}other-project-1")
    arn = client("secretsmanager").create_secret(Name="database", SecretString="secret")["ARN"]
    for attack in (
        lambda: ann("secretsmanager").get_secret_value(SecretId="database"),
        lambda: ann("secretsmanager").get_secret_value(SecretId=arn),
        lambda: ann("secretsmanager").delete_secret(SecretId=arn),
        lambda: ann("ssm").delete_document(Name=other),
        lambda: ann("ssm").get_document(Name=other),
        lambda: ann("ssm").update_document(Name=other, Content="{}"),
        lambda: ann("ssm").create_document(Name="Own-Name", Content="{}", DocumentType="Command"),
        lambda: ann("ssm").get_parameter(Name="/database/password"),
    ):
        with denied("AccessDeniedException"):
            attack()


@pytest.mark.attack("gives a machine, or a profile, a role with more permissions than the user has")
def test_no_other_role_can_be_passed(ann, ec2, client, ssm):
    iam, tags = client("iam"), project_tags.to_aws(project_tags.for_project("torchneuron-code-server"))
    make_profile(iam, "admin")
    specifications = [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")]
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]
    asked = {"ImageId": image, "InstanceType": "inf2.xlarge", "MinCount": 1, "MaxCount": 1}
    ours = ec2.create_security_group(
        GroupName="ours", Description="ours", TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}]
    )["GroupId"]
    asked |= {"TagSpecifications": specifications, "SecurityGroupIds": [ours], "DryRun": True}
    with denied("DryRunOperation"):
        ann("ec2").run_instances(**asked)
    with denied("UnauthorizedOperation", "iam:PassRole", "role/admin"):
        ann("ec2").run_instances(**asked, IamInstanceProfile={"Name": "admin"})
    iam.create_instance_profile(InstanceProfileName="torchneuron-code-server-mine")
    with denied("AccessDenied", "iam:PassRole", "role/admin"):
        ann("iam").add_role_to_instance_profile(InstanceProfileName="torchneuron-code-server-mine", RoleName="admin")
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    iam.create_role(RoleName="torchneuron-code-server-mine", AssumeRolePolicyDocument="{}")
    for attack in (
        lambda: ann("iam").attach_role_policy(RoleName="torchneuron-code-server-mine", PolicyArn=admin),
        lambda: ann("iam").attach_user_policy(UserName="ann", PolicyArn=admin),
        lambda: ann("iam").create_access_key(UserName="ann"),
    ):
        with denied("AccessDenied"):
            attack()


@pytest.mark.attack("deletes or reads another bucket, or redirects the state to a bucket of another account")
def test_buckets_of_others_are_denied(ann, client):
    s3, mine = client("s3"), ann("s3")
    s3.create_bucket(Bucket="other", CreateBucketConfiguration={"LocationConstraint": REGION})
    taken = "torchneuron-code-server-999999999999-sa-east-1"
    s3_backends["999999999999"]["aws"].create_bucket(taken, REGION)
    for attack in (
        lambda: mine.delete_bucket(Bucket="other"),
        lambda: mine.get_object(Bucket="other", Key="a"),
        lambda: mine.put_object(Bucket=taken, Key="torchneuron-code-server/sa-east-1/terraform.tfstate", Body=b"state"),
        lambda: mine.list_objects_v2(Bucket=taken),
        lambda: mine.delete_bucket(Bucket=taken),
    ):
        with denied("AccessDenied"):
            attack()
