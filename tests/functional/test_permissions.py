"""What commands ask of AWS is what their policy allows: all of it, and no more than can be said why.

Those that run Terraform are in tests/e2e/test_permissions.py.
"""

import json
import shutil
from datetime import timedelta

import pytest
from moto.ssm.models import ssm_backends

from rehearsal.hosts.machine import KILLED, ScriptResult
from tests.functional.asking import allowed, asked
from tests.functional.rehearsal_support import PERMITTING, make_profile
from tests.functional.support import AMI_PARAMETER, eventually

REGION = "sa-east-1"
# Checked by AWS inside another operation, which is all that a rehearsal sees of them: tags given to what is made.
INSIDE_ANOTHER = {"ec2:CreateTags", "ssm:AddTagsToResource", "s3:PutBucketOwnershipControls"}
# Terraform's way to read a parameter; putting back what a save that failed half way has overwritten.
SELDOM = {"ssm:GetParameter", "ssm:DeleteParameter"}


@pytest.fixture
def of(control):
    """The actions behind everything that some calls ask for."""
    return lambda *commands: {action for one in commands for action in asked(lambda: control("calls"), one)}


def exactly(command, seen):
    """Whether a command was seen to ask for what it is allowed, all but what is named above."""
    assert seen - allowed(command) == set()
    assert allowed(command) - seen - INSIDE_ANOTHER - SELDOM == set()


def test_searching(of, invoke):
    exactly("cb.search", of(lambda: invoke("cb.search", "-r", "all", "--suggest")))


def test_buying_and_saving(of, invoke, proposed):
    words = ["--offering-id", proposed[0], "-r", REGION, "--yes"]
    seen = of(
        lambda: invoke("cb.purchase", *words, "--dry-run"),
        lambda: invoke("cb.purchase", *words),
    )
    exactly("cb.purchase", seen)


def test_extending(of, invoke, bought):
    words = ["--reservation-id", bought, "-d", "24", "-r", REGION, "--yes"]
    exactly("cb.extend", of(lambda: invoke("cb.extend", *words, "--dry-run"), lambda: invoke("cb.extend", *words)))


def test_looking(of, invoke, bought):
    exactly("cb.list", of(lambda: invoke("cb.list", "-r", REGION)))
    exactly("cb.describe", of(lambda: invoke("cb.describe", "--reservation-id", bought, "-r", REGION)))


def test_waiting(of, invoke, bought, ec2, move_clock):
    (block,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    move_clock(block["StartDate"])
    exactly("cb.wait", of(lambda: invoke("cb.wait", "--until", "active", "-r", REGION)))


def test_cancelling(of, invoke, bought, ec2):
    made = ec2.create_capacity_reservation(
        InstanceType="trn2.3xlarge", InstancePlatform="Linux/UNIX", AvailabilityZone="sa-east-1b", InstanceCount=1
    )["CapacityReservation"]["CapacityReservationId"]
    seen = of(
        lambda: invoke("cb.cancel", "--reservation-id", bought, "-r", REGION, "--yes", status=1),
        lambda: invoke("cb.cancel", "--reservation-id", made, "-r", REGION, "--yes"),
    )
    exactly("cb.cancel", seen)


def test_saving_and_loading(of, invoke, bought, ssm):
    ssm.delete_parameter(Name=f"/capacity-block/{REGION}/end")
    save = ["cb.save-params", "--reservation-id", bought, "-r", REGION]
    exactly("cb.save-params", of(lambda: invoke(*save)))
    exactly("cb.load-params", of(lambda: invoke("cb.load-params", "-r", REGION)))


def test_making_the_state_bucket(of, invoke):
    exactly("bootstrap", of(lambda: invoke("bootstrap", "-r", REGION)))


def test_the_doctor(of, invoke):
    exactly("doctor", of(lambda: invoke("doctor", "-r", REGION, status=1)))


@pytest.fixture
def instance(ec2, ssm, client, machines):
    """An instance whose role lets it register, and where every script goes well but those that `go-wrong`."""

    def agreeable(machine):
        def run(script):
            if "take-long" in script.text:
                return ScriptResult(KILLED, "", "", "cancelled" if script.cancelled.wait(30) else "timed-out")
            return ScriptResult(int("go-wrong" in script.text), "done\n", "", "exited")

        machine.run = run

    machines.prepare = agreeable
    made = ec2.run_instances(
        ImageId=ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"],
        InstanceType="inf2.xlarge",
        MinCount=1,
        MaxCount=1,
        IamInstanceProfile={"Name": make_profile(client("iam"), "permitted", PERMITTING)},
    )["Instances"][0]["InstanceId"]
    eventually(lambda: ssm.describe_instance_information()["InstanceInformationList"])
    return made


@pytest.fixture
def unreached(ec2, ssm, client):
    """One in a subnet that nothing leads out of, with policies of the user's own that do not let it register."""
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


def test_setting_up(of, invoke, instance, client):
    """Where the instance and the secret are named: else it looks them up first, as `info` does."""
    secret = client("secretsmanager").create_secret(Name="some-secret", SecretString="quite-a-long-password")["ARN"]
    words = ["setup", "-i", instance, "-r", REGION, "-s", secret]
    assert of(lambda: invoke(*words)) - allowed("setup") == set()


def test_running_tasks(of, invoke, instance, unreached, tmp_path, ssm, config):
    file = tmp_path / "tasks.json"
    one = {"id": "01-one", "name": "One", "description": "", "commands": ["true"]}
    other = {**one, "id": "02-two", "commands": ["go-wrong"]}
    file.write_text(json.dumps({"tasks": [one, other]}))
    words = ["run-tasks", "--file", str(file), "-r", REGION]

    def from_another_laptop():
        shutil.rmtree(config.state_dir)
        invoke(*words, "-i", instance, "--clean-state", status=1)

    def with_an_old_document():
        for documents in ssm_backends["123456789012"][REGION]._documents.values():
            documents.get_default_version().created_date -= timedelta(days=8)
        file.write_text(json.dumps({"tasks": [one]}))
        invoke(*words, "-i", instance, "--clean-state")

    def with_one_under_way():
        ssm.send_command(
            InstanceIds=[instance],
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": ["take-long"]},
            Comment="torchneuron setup of somebody else's",
        )
        eventually(lambda: ssm.list_command_invocations(Filters=[{"key": "Status", "value": "InProgress"}]))
        invoke("run-tasks", "--cancel", "-r", REGION, "-i", instance)

    seen = of(
        lambda: invoke(*words, "-i", instance, status=1),
        lambda: invoke(*words, "-i", unreached, status=2),
        from_another_laptop,
        lambda: invoke(*words, "-i", instance, "--clean-state", status=1),
        with_an_old_document,
        with_one_under_way,
    )
    exactly("run-tasks", seen | (allowed("info") & allowed("run-tasks")))
