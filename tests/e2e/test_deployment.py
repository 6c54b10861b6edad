"""Redeploys, interrupted deploys and destroy, with the real Terraform and provider.

The tests share one deployment on a Capacity Block and run in order; the last one destroys it.
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
    use_test_ami_parameter,
)
from tests.sandboxes import open_sandbox
from tests.sessions import await_end, session

STACK = "torchneuron-code-server"
STATE = f"{STACK}/{REGION}/terraform.tfstate"
DEPLOY = ("deploy", "--skip-setup")
FIRST = (*DEPLOY, "--use-capacity-block", "--data-volume-size", "20")


@dataclass(frozen=True)
class Deployment:
    """Runs commands in a sandbox and reads its AWS resources."""

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
        """The pending and running instances by id."""
        running = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        found = self.aws("ec2").describe_instances(Filters=running)["Reservations"]
        return {instance["InstanceId"]: instance for group in found for instance in group["Instances"]}

    def data_volumes(self) -> dict[str, dict[str, Any]]:
        ours = [{"Name": "tag:torchneuron:volume", "Values": ["data"]}]
        return {volume["VolumeId"]: volume for volume in self.aws("ec2").describe_volumes(Filters=ours)["Volumes"]}


@pytest.fixture(scope="module")
def deployment():
    """A rehearsal with an active, saved block and a state bucket."""
    with open_sandbox(region=REGION, host_suite="none") as sandbox:
        main_job.prepare(Demo(sandbox, REGION))
        use_test_ami_parameter(sandbox)
        yield Deployment(sandbox)


@pytest.fixture(scope="module")
def first(deployment):
    """Deploy for the first time; returns the ids of the machine and its data volume."""
    output = deployment.invoke(*FIRST)
    assert "instances are terminated in 23 h" in output
    (machine,), (volume,) = deployment.machines(), deployment.data_volumes()
    assert volume in output
    return machine, volume


def test_redeploy_without_options_keeps_settings_despite_changed_defaults(deployment, first):
    publish_newer_ami(deployment.sandbox)
    before = deployment.sandbox.settings()
    deployment.change_settings(defaultVolumeSize=640, defaultInstanceType="trn2.48xlarge")
    ssm = deployment.aws("ssm")
    saved = f"/capacity-block/{REGION}/reservation-id"
    block = ssm.get_parameter(Name=saved)["Parameter"]["Value"]
    # As another purchase would save it.
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
def test_change_that_destroys_a_machine_is_refused_with_its_cause(deployment, first, changes, cause):
    output = deployment.refused(*DEPLOY, *changes)
    assert "This deploy would destroy what someone may be working on. Nothing was changed." in output
    assert cause in output
    assert (list(deployment.machines()), list(deployment.data_volumes())) == ([first[0]], [first[1]])


def test_volume_in_use_is_not_deleted_even_with_allow_replace(deployment, first):
    output = deployment.refused(*DEPLOY, "--data-volume-size", "0", "--allow-replace")
    assert "aws_ebs_volume.data[0] would be deleted while its machine uses it" in output
    assert list(deployment.data_volumes()) == [first[1]]


def test_volume_of_a_running_machine_is_not_released(deployment, first):
    output = deployment.refused(*DEPLOY, "--release-data")
    assert f"{first[0]} runs with the data volumes. Nothing was changed." in output
    assert "Nothing to change." in deployment.invoke(*DEPLOY)


def test_volume_grows_in_place(deployment, first):
    assert "resize2fs" in deployment.invoke(*DEPLOY, "--data-volume-size", "30")
    assert deployment.data_volumes()[first[1]]["Size"] == 30
    assert "has 30 GiB" in deployment.refused(*DEPLOY, "--data-volume-size", "20")


def test_opening_to_the_world_needs_an_option_and_https(deployment, first):
    world = (*DEPLOY, "--allowed-ip", "::/0", "--open-to-world")
    assert "--open-to-world" in deployment.refused(*world[:-1])
    assert "--open-to-world needs HTTPS" in deployment.refused(*world)
    deployment.change_settings(tls="self-signed")
    deployment.invoke(*world)
    assert "Nothing to change." in deployment.invoke(*DEPLOY)
    info = json.loads(run(deployment.sandbox, ["invoke", "info", "-o", "json"]))
    assert info["instances"][0]["url"].startswith("https://ec2-")
    deployment.invoke(*DEPLOY, "--closed")
    deployment.change_settings(tls="off")
    groups = deployment.aws("ec2").describe_security_groups(GroupIds=[info["securityGroupId"]])["SecurityGroups"]
    assert groups[0]["IpPermissions"] == []


def test_info_finds_the_machine_by_tags_without_a_state(deployment, first):
    before = deployment.sandbox.settings()["backend"]
    by_state = json.loads(run(deployment.sandbox, ["invoke", "info", "-o", "json"]))
    deployment.change_settings(backend={**before, "bucket": None})
    try:
        by_tags = json.loads(run(deployment.sandbox, ["invoke", "info", "-o", "json"]))
    finally:
        deployment.change_settings(backend=before)
    assert (by_state["foundBy"], by_tags["foundBy"]) == ("state", "tags")
    seconds = by_tags["instances"][0]["secondsToTermination"]
    assert {**by_tags, "foundBy": "state"} == {
        **by_state,
        "instances": [{**by_state["instances"][0], "secondsToTermination": seconds}],
    }
    assert by_tags["instances"][0]["id"] == first[0]
    assert by_tags["dataVolumeIds"] == [first[1]]


def test_refresh_ami_replaces_the_machine_and_keeps_the_data(deployment, first):
    newest = newest_ami(deployment.sandbox)
    assert "is for trn2.3xlarge, not trn2.48xlarge" in deployment.refused(
        *DEPLOY, "--refresh-ami", "-t", "trn2.48xlarge"
    )
    deployment.invoke(*DEPLOY, "--refresh-ami")
    ((machine, instance),) = deployment.machines().items()
    assert machine != first[0]
    assert instance["ImageId"] == newest
    attachments = deployment.data_volumes()[first[1]]["Attachments"]
    assert [attachment["InstanceId"] for attachment in attachments] == [machine]
    assert "Nothing to change." in deployment.invoke(*DEPLOY)


def test_destroy_keeps_the_data_for_the_next_deploy(deployment, first):
    assert "Add --yes." in deployment.refused("destroy")
    output = deployment.invoke("destroy", "--yes")
    assert f"The data stays in {first[1]}" in output
    assert deployment.machines() == {}
    assert list(deployment.data_volumes()) == [first[1]]
    assert f"Its data is in {first[1]}" in deployment.refused("info")


def interrupt_launch(deployment, number):
    """Signal all processes of a deploy right after Terraform has launched a machine; returns the machine's id."""
    control, before = deployment.sandbox.control, set(deployment.machines())
    # Terraform makes this call for a machine that it has just launched, and never for a terminated one.
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
    """Remove the lock of a killed deploy."""
    folder = deployment.sandbox.folder / "cdktf.out" / "invoke" / REGION / "stacks" / STACK
    (bucket,) = [bucket["Name"] for bucket in deployment.aws("s3").list_buckets()["Buckets"]]
    lock = f"{STATE}.tflock"
    held = json.loads(deployment.aws("s3").get_object(Bucket=bucket, Key=lock)["Body"].read())
    run(deployment.sandbox, ["terraform", f"-chdir={folder}", "force-unlock", "-force", held["ID"]])


def test_machine_of_an_interrupted_deploy_is_kept(deployment, first):
    """Terraform has marked the machine as tainted, and the block has no capacity for another."""
    machine = interrupt_launch(deployment, signal.SIGINT)
    output = deployment.invoke(*DEPLOY, "--use-capacity-block")
    assert f"{machine} was created by a deploy that did not finish: keeping it." in output
    assert list(deployment.machines()) == [machine]
    attachments = deployment.data_volumes()[first[1]]["Attachments"]
    assert [attachment["InstanceId"] for attachment in attachments] == [machine]


def test_machine_of_a_killed_deploy_replaces_a_terminated_one_in_the_state(deployment, first):
    (terminated,) = deployment.machines()
    deployment.aws("ec2").terminate_instances(InstanceIds=[terminated])  # as AWS does at the end of a block
    machine = interrupt_launch(deployment, signal.SIGKILL)

    unlock(deployment)
    output = deployment.invoke(*DEPLOY, "--use-capacity-block")
    assert f"{machine} was launched by a deploy that did not finish: importing it." in output
    assert list(deployment.machines()) == [machine]
    attachments = deployment.data_volumes()[first[1]]["Attachments"]
    assert [attachment["InstanceId"] for attachment in attachments] == [machine]
    assert "Nothing to change." in deployment.invoke(*DEPLOY)


def test_foreign_machine_with_the_same_tags_is_never_imported(deployment, first):
    ec2 = deployment.aws("ec2")
    image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
    tags = [{"Key": "Project", "Value": STACK}, {"Key": "ManagedBy", "Value": "torchneuron"}]
    launched = ec2.run_instances(
        ImageId=image,
        InstanceType="trn2.3xlarge",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    foreign = launched["Instances"][0]["InstanceId"]
    output = deployment.refused(*DEPLOY)
    assert f"{foreign} runs with this project's tags, and this state does not have it. Nothing was changed." in output
    ec2.terminate_instances(InstanceIds=[foreign])


def test_destroy_deletes_the_data_only_with_delete_data(deployment, first):
    output = deployment.invoke("destroy", "--yes", "--delete-data")
    assert re.search(r"aws_ebs_volume +│ aws_ebs_volume\.data\[0\]", output)
    assert deployment.machines() == {}
    assert deployment.data_volumes() == {}
    repeated = deployment.invoke("destroy", "--yes")
    assert "Nothing is deployed" in repeated
    assert "in no state" not in output + repeated
    assert "Nothing is deployed" in deployment.refused("info")
    assert deployment.aws("secretsmanager").list_secrets()["SecretList"] == []


def test_machine_is_imported_when_the_first_deploy_was_killed_before_saving_state(deployment, first):
    machine = interrupt_launch(deployment, signal.SIGKILL)
    unlock(deployment)
    s3 = deployment.aws("s3")
    (bucket,) = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    for version in s3.list_object_versions(Bucket=bucket, Prefix=STATE)["Versions"]:
        # As if Terraform had not saved any in its first 20 seconds.
        s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])

    dry_run = deployment.invoke(*DEPLOY, "--use-capacity-block", "--dry-run")
    assert re.search(rf"import +│ aws_instance\.machine\[0\] +│ {machine}", dry_run)
    output = deployment.invoke(*DEPLOY, "--use-capacity-block")
    assert f"{machine} was launched by a deploy that did not finish: importing it." in output
    assert list(deployment.machines()) == [machine]
    assert "Nothing to change." in deployment.invoke(*DEPLOY)
    deployment.invoke("destroy", "--yes")
    assert deployment.machines() == {}
