"""What a redeploy never does, what a killed one leaves, what destroy keeps: with the real Terraform and provider.

One deployment on a Capacity Block serves the tests in the order they stand in; the last one removes it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import pytest

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import Sandbox, SandboxError, run
from tests.e2e.conftest import (
    PROJECT,
    REGION,
    client,
    newest_ami,
    publish_newer_ami,
    take_ami_from_own_parameter,
)
from tests.sandboxes import open_sandbox
from tests.sessions import await_end, session

STACK = "torchneuron-code-server"
STATE = f"{STACK}/{REGION}/terraform.tfstate"
DEPLOY = ("deploy", "--skip-setup")
FIRST = (*DEPLOY, "--use-capacity-block", "--data-volume-size", "20")


@dataclass(frozen=True)
class Deployment:
    """The commands in a sandbox, and what its AWS has."""

    sandbox: Sandbox

    def invoke(self, *arguments: str) -> str:
        return run(self.sandbox, ["sh", "-c", 'exec invoke "$@" 2>&1', "sh", *arguments])

    def refused(self, *arguments: str) -> str:
        with pytest.raises(SandboxError) as failed:
            self.invoke(*arguments)
        assert "Traceback" not in str(failed.value)
        return str(failed.value)

    def aws(self, service):
        return client(self.sandbox, service)

    def change_settings(self, **changes) -> None:
        path = self.sandbox.folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def machines(self) -> dict[str, dict[str, Any]]:
        """The instances that are there, by id."""
        there = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        found = self.aws("ec2").describe_instances(Filters=there)["Reservations"]
        return {one["InstanceId"]: one for group in found for one in group["Instances"]}

    def data_volumes(self) -> dict[str, dict[str, Any]]:
        ours = [{"Name": "tag:torchneuron:volume", "Values": ["data"]}]
        return {one["VolumeId"]: one for one in self.aws("ec2").describe_volumes(Filters=ours)["Volumes"]}


@pytest.fixture(scope="module")
def deployment():
    """A rehearsal where a block has been bought and has begun, and a state bucket made."""
    with open_sandbox(region=REGION, host_suite="none") as sandbox:
        main_job.prepare(Demo(sandbox, REGION))
        take_ami_from_own_parameter(sandbox)
        yield Deployment(sandbox)


@pytest.fixture(scope="module")
def first(deployment):
    """The first deploy; its machine and its data volume."""
    told = deployment.invoke(*FIRST)
    assert "instances are terminated in 23 h" in told
    (machine,), (volume,) = deployment.machines(), deployment.data_volumes()
    assert volume in told
    return machine, volume


def test_what_is_left_out_the_second_time_is_as_before_whatever_the_defaults_say(deployment, first):
    publish_newer_ami(deployment.sandbox)
    before = deployment.sandbox.settings()
    deployment.change_settings(defaultVolumeSize=640, defaultInstanceType="trn2.48xlarge")
    ssm = deployment.aws("ssm")
    saved = f"/capacity-block/{REGION}/reservation-id"
    block = ssm.get_parameter(Name=saved)["Parameter"]["Value"]
    # As after another purchase.
    ssm.put_parameter(Name=saved, Value="cr-0fedcba9876543210", Type="String", Overwrite=True)
    try:
        assert "Nothing to change." in deployment.invoke(*DEPLOY)
        assert "Nothing to change." in deployment.invoke(*DEPLOY, "--use-capacity-block")
    finally:
        ssm.put_parameter(Name=saved, Value=block, Type="String", Overwrite=True)
        deployment.change_settings(**before)
    assert list(deployment.machines()) == [first[0]]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        (("-t", "trn2.48xlarge"), "aws_launch_template.machine: instance_type trn2.3xlarge -> trn2.48xlarge"),
        (("--volume-size", "640"), "volume_size 500 -> 640"),
        (("--on-demand",), "instance_market_options something -> nothing"),
    ],
)
def test_what_would_lose_a_machine_or_its_data_is_refused_with_its_cause(deployment, first, changes, cause):
    told = deployment.refused(*DEPLOY, *changes)
    assert "This deploy would destroy what someone may be working on. Nothing was changed." in told
    assert cause in told
    assert (list(deployment.machines()), list(deployment.data_volumes())) == ([first[0]], [first[1]])


def test_a_volume_in_use_does_not_go_even_when_that_is_allowed(deployment, first):
    told = deployment.refused(*DEPLOY, "--data-volume-size", "0", "--allow-replace")
    assert "aws_ebs_volume.data[0] would be deleted while its machine uses it" in told
    assert list(deployment.data_volumes()) == [first[1]]


def test_a_volume_is_not_released_from_under_its_machine(deployment, first):
    told = deployment.refused(*DEPLOY, "--release-data")
    assert f"{first[0]} runs with the data volumes. Nothing was changed." in told
    assert "Nothing to change." in deployment.invoke(*DEPLOY)


def test_a_volume_grows_in_place(deployment, first):
    assert "resize2fs" in deployment.invoke(*DEPLOY, "--data-volume-size", "30")
    assert deployment.data_volumes()[first[1]]["Size"] == 30
    assert "has 30 GiB" in deployment.refused(*DEPLOY, "--data-volume-size", "20")


def test_the_world_is_let_in_only_when_that_is_said_and_over_https(deployment, first):
    world = (*DEPLOY, "--allowed-ip", "::/0", "--open-to-world")
    assert "--open-to-world" in deployment.refused(*world[:-1])
    assert "--open-to-world needs HTTPS" in deployment.refused(*world)
    deployment.change_settings(tls="self-signed")
    deployment.invoke(*world)
    assert "Nothing to change." in deployment.invoke(*DEPLOY)
    told = json.loads(run(deployment.sandbox, ["invoke", "info", "-o", "json"]))
    assert told["instances"][0]["url"].startswith("https://ec2-")
    deployment.invoke(*DEPLOY, "--closed")
    deployment.change_settings(tls="off")
    groups = deployment.aws("ec2").describe_security_groups(GroupIds=[told["securityGroupId"]])["SecurityGroups"]
    assert groups[0]["IpPermissions"] == []


def test_info_finds_the_machine_without_a_state(deployment, first):
    before = deployment.sandbox.settings()["backend"]
    told = json.loads(run(deployment.sandbox, ["invoke", "info", "-o", "json"]))
    deployment.change_settings(backend={**before, "bucket": None})
    try:
        found = json.loads(run(deployment.sandbox, ["invoke", "info", "-o", "json"]))
    finally:
        deployment.change_settings(backend=before)
    assert (told["foundBy"], found["foundBy"]) == ("state", "tags")
    assert {**found, "foundBy": "state"} == {
        **told,
        "instances": [{**told["instances"][0], "secondsToTermination": found["instances"][0]["secondsToTermination"]}],
    }
    assert found["instances"][0]["id"] == first[0]
    assert found["dataVolumeIds"] == [first[1]]


def test_a_newer_ami_is_for_those_who_ask_and_the_data_stays(deployment, first):
    newest = newest_ami(deployment.sandbox)
    assert "is for trn2.3xlarge, not trn2.48xlarge" in deployment.refused(
        *DEPLOY, "--refresh-ami", "-t", "trn2.48xlarge"
    )
    deployment.invoke(*DEPLOY, "--refresh-ami")
    ((machine, seen),) = deployment.machines().items()
    assert machine != first[0]
    assert seen["ImageId"] == newest
    attached = deployment.data_volumes()[first[1]]["Attachments"]
    assert [one["InstanceId"] for one in attached] == [machine]
    assert "Nothing to change." in deployment.invoke(*DEPLOY)


def test_destroy_keeps_the_data_for_the_next_deploy(deployment, first):
    assert "Add --yes." in deployment.refused("destroy")
    told = deployment.invoke("destroy", "--yes")
    assert f"The data stays in {first[1]}" in told
    assert deployment.machines() == {}
    assert list(deployment.data_volumes()) == [first[1]]
    assert f"Its data is in {first[1]}" in deployment.refused("info")


def cut_while_launching(deployment, number):
    """Cut a deploy by a signal to all of it while Terraform is at the machine it has launched; the machine's id."""
    control, before = deployment.sandbox.control, set(deployment.machines())
    # Terraform reads this of a machine that it has just launched, and of none that is gone.
    control("faults", {"faults": [{"operation": "DescribeInstanceAttribute", "kind": "delay", "seconds": 600}]})
    with session(
        *(sys.executable, "-m", "invoke", *DEPLOY, "--use-capacity-block"),
        cwd=PROJECT,
        env=dict(deployment.sandbox.environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as deploy:
        deadline = time.monotonic() + 600
        while control("faults")["faults"]:
            assert time.monotonic() < deadline
            assert deploy.poll() is None
            time.sleep(0.05)
        os.killpg(deploy.pid, number)
        await_end(deploy)
    control("faults", {"faults": []})
    (machine,) = deployment.machines().keys() - before
    return machine


def unlock(deployment):
    """Remove the lock that a killed deploy left."""
    folder = deployment.sandbox.folder / "cdktf.out" / "invoke" / REGION / "stacks" / STACK
    (bucket,) = [one["Name"] for one in deployment.aws("s3").list_buckets()["Buckets"]]
    lock = f"{STATE}.tflock"
    held = json.loads(deployment.aws("s3").get_object(Bucket=bucket, Key=lock)["Body"].read())
    run(deployment.sandbox, ["terraform", f"-chdir={folder}", "force-unlock", "-force", held["ID"]])


def test_a_machine_that_an_interrupted_deploy_waited_for_is_taken_over(deployment, first):
    """Terraform has noted it as one to make anew, and the block has no room for another."""
    machine = cut_while_launching(deployment, signal.SIGINT)
    told = deployment.invoke(*DEPLOY, "--use-capacity-block")
    assert f"{machine} was created by a deploy that did not finish: keeping it." in told
    assert list(deployment.machines()) == [machine]
    attached = deployment.data_volumes()[first[1]]["Attachments"]
    assert [one["InstanceId"] for one in attached] == [machine]


def test_a_machine_that_a_killed_deploy_launched_is_taken_over_in_place_of_one_that_is_gone(deployment, first):
    (gone,) = deployment.machines()
    deployment.aws("ec2").terminate_instances(InstanceIds=[gone])  # as AWS does at the end of a block
    machine = cut_while_launching(deployment, signal.SIGKILL)

    unlock(deployment)
    told = deployment.invoke(*DEPLOY, "--use-capacity-block")
    assert f"{machine} was launched by a deploy that did not finish: importing it." in told
    assert list(deployment.machines()) == [machine]
    attached = deployment.data_volumes()[first[1]]["Attachments"]
    assert [one["InstanceId"] for one in attached] == [machine]
    assert "Nothing to change." in deployment.invoke(*DEPLOY)


def test_a_machine_of_somebody_else_with_the_same_tags_is_never_taken(deployment, first):
    ec2 = deployment.aws("ec2")
    image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
    tags = [{"Key": "Project", "Value": STACK}, {"Key": "ManagedBy", "Value": "torchneuron"}]
    made = ec2.run_instances(
        ImageId=image,
        InstanceType="trn2.3xlarge",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    stranger = made["Instances"][0]["InstanceId"]
    told = deployment.refused(*DEPLOY)
    assert f"{stranger} runs with this project's tags, and this state does not have it. Nothing was changed." in told
    ec2.terminate_instances(InstanceIds=[stranger])


def test_destroy_removes_the_data_only_when_that_is_said(deployment, first):
    told = deployment.invoke("destroy", "--yes", "--delete-data")
    assert re.search(r"aws_ebs_volume +│ aws_ebs_volume\.data\[0\]", told)
    assert deployment.machines() == {}
    assert deployment.data_volumes() == {}
    nothing = deployment.invoke("destroy", "--yes")
    assert "Nothing is deployed" in nothing
    assert "in no state" not in told + nothing
    assert "Nothing is deployed" in deployment.refused("info")
    left = deployment.aws("secretsmanager").list_secrets()["SecretList"]
    assert left == []


def test_machine_of_a_first_deploy_killed_before_it_saved_any_state_is_imported(deployment, first):
    machine = cut_while_launching(deployment, signal.SIGKILL)
    unlock(deployment)
    s3 = deployment.aws("s3")
    (bucket,) = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    s3.delete_object(Bucket=bucket, Key=STATE)  # as if Terraform had not saved any in its first 20 seconds

    dry_run = deployment.invoke(*DEPLOY, "--use-capacity-block", "--dry-run")
    assert re.search(rf"import +│ aws_instance\.machine\[0\] +│ {machine}", dry_run)
    told = deployment.invoke(*DEPLOY, "--use-capacity-block")
    assert f"{machine} was launched by a deploy that did not finish: importing it." in told
    assert list(deployment.machines()) == [machine]
    assert "Nothing to change." in deployment.invoke(*DEPLOY)
    deployment.invoke("destroy", "--yes")
    assert deployment.machines() == {}
