"""`npx cdktf synth|diff|deploy|destroy` with the real Terraform and AWS provider.

The tests share one deployment on a Capacity Block and run in order; the last one destroys it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import Sandbox
from rehearsal.scenarios.terraform_mirror import write_cli_config
from tests.e2e.conftest import PROJECT, REGION, client, publish_newer_ami, use_test_ami_parameter
from tests.sandboxes import open_sandbox
from tests.unit.stack_support import GOLDEN, VARIANTS

STACK = "torchneuron-code-server"
ON_BLOCK = {"useCapacityBlock": True}


@dataclass(frozen=True)
class Cdktf:
    """cdktf-cli in a sandbox. The output of each call is logged in the sandbox's folder for the leak test."""

    sandbox: Sandbox

    @property
    def output(self) -> Path:
        return self.sandbox.folder / "cdktf.out"

    def __call__(self, command, *arguments, settings=None):
        environment = {**self.sandbox.environment, "CDKTF_OUTPUT": str(self.output)}
        if settings is not None:
            environment["CDKTF_CONTEXT_JSON"] = json.dumps(settings)
        done = subprocess.run(
            ["npx", "--no-install", "cdktf", command, *arguments],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=150,
            check=False,
        )
        with (self.sandbox.folder / "cdktf.log").open("a") as log:
            log.write(done.stdout)
        return done

    def passing(self, command, *arguments, settings=None):
        done = self(command, *arguments, settings=settings)
        assert done.returncode == 0, done.stdout
        # Remove colours and the line breaks of a narrow terminal.
        return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", done.stdout))

    def stack(self):
        return json.loads((self.output / "stacks" / STACK / "cdk.tf.json").read_text())


@pytest.fixture(scope="module")
def cdktf():
    """cdktf-cli against a rehearsal with an active, saved block and a state bucket."""
    with open_sandbox(region=REGION, host_suite="none") as sandbox:
        main_job.prepare(Demo(sandbox, REGION))
        use_test_ami_parameter(sandbox)
        yield Cdktf(sandbox)


@pytest.fixture(scope="module")
def deployed(cdktf):
    """Deploy the stack on the block; returns its outputs."""
    outputs = cdktf.sandbox.folder / "outputs.json"
    output = cdktf.passing("deploy", "--auto-approve", "--outputs-file", str(outputs), settings=ON_BLOCK)
    assert re.search(r"Apply complete! Resources: \d+ added, 0 changed, 0 destroyed", output)
    return json.loads(outputs.read_text())[STACK]


@pytest.fixture(scope="module")
def terraform_folder(tmp_path_factory):
    """A folder where Terraform is initialized without a backend, and the environment for it."""
    folder = tmp_path_factory.mktemp("validate")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    if mirror := write_cli_config(tmp_path_factory.mktemp("mirror")):
        environment["TF_CLI_CONFIG_FILE"] = str(mirror)
    shutil.copy(GOLDEN / "on-demand.json", folder / "cdk.tf.json")
    subprocess.run(
        ["terraform", "init", "-backend=false", "-input=false"],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    return folder, environment


@pytest.mark.parametrize("name", VARIANTS)
def test_terraform_finds_every_variant_valid(terraform_folder, name):
    folder, environment = terraform_folder
    shutil.copy(GOLDEN / f"{name}.json", folder / "cdk.tf.json")
    done = subprocess.run(
        ["terraform", "validate", "-json"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    verdict = json.loads(done.stdout)
    assert verdict["diagnostics"] == []
    assert verdict["valid"]


def test_synth_reads_settings_from_the_context(cdktf):
    cdktf.passing("synth", settings={"volumeSize": 640, "allowedIps": ["203.0.113.7"], "region": "us-east-2"})
    stack = cdktf.stack()
    (template,) = stack["resource"]["aws_launch_template"].values()
    assert template["block_device_mappings"][0]["ebs"]["volume_size"] == 640
    assert stack["provider"]["aws"][0]["region"] == "us-east-2"
    (group,) = stack["resource"]["aws_security_group"].values()
    assert group["ingress"][0]["cidr_blocks"] == ["203.0.113.7/32"]


def test_misspelt_setting_is_refused_with_a_suggestion(cdktf):
    done = cdktf("synth", settings={"volumSize": 640})
    assert done.returncode != 0
    assert "did you mean 'volumeSize'?" in done.stdout
    assert "Traceback" not in done.stdout


def test_instance_runs_on_the_block_with_the_template_settings(cdktf, deployed):
    ec2 = client(cdktf.sandbox, "ec2")
    (reservation,) = ec2.describe_instances(InstanceIds=[deployed["instance_id"]])["Reservations"]
    (instance,) = reservation["Instances"]
    assert instance["State"]["Name"] == "running"
    assert instance["InstanceLifecycle"] == "capacity-block"
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert instance["IamInstanceProfile"]["Arn"]
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert {"Project": STACK, "ManagedBy": "torchneuron"}.items() <= tags.items()
    (device,) = instance["BlockDeviceMappings"]
    (volume,) = ec2.describe_volumes(VolumeIds=[device["Ebs"]["VolumeId"]])["Volumes"]
    assert (volume["VolumeType"], volume["Size"], volume["Encrypted"]) == ("gp3", 500, True)
    assert {"Key": "Project", "Value": STACK} in volume["Tags"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("availability-zone", f"{REGION}c", "in another availability zone than the saved Capacity Block"),
        ("instance-type", "trn2.48xlarge", "The saved Capacity Block is not for trn2.3xlarge"),
    ],
)
def test_terraform_refuses_settings_that_do_not_match_the_block(cdktf, deployed, name, value, message):
    ssm = client(cdktf.sandbox, "ssm")
    saved = {"Name": f"/capacity-block/{REGION}/{name}", "Type": "String", "Overwrite": True}
    before = ssm.get_parameter(Name=saved["Name"])["Parameter"]["Value"]
    ssm.put_parameter(**saved, Value=value)
    done = cdktf("diff", settings=ON_BLOCK)
    ssm.put_parameter(**saved, Value=before)
    assert done.returncode != 0
    assert message in re.sub(r"[\s│╷╵]+", " ", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", done.stdout))


def test_no_port_is_open(cdktf, deployed):
    groups = client(cdktf.sandbox, "ec2").describe_security_groups(GroupIds=[deployed["security_group_id"]])
    assert groups["SecurityGroups"][0]["IpPermissions"] == []


def test_second_diff_and_deploy_change_nothing(cdktf, deployed):
    assert "No changes." in cdktf.passing("diff", settings=ON_BLOCK)
    output = cdktf.passing("deploy", "--auto-approve", settings=ON_BLOCK)
    assert "Apply complete!" not in output or "0 added, 0 changed, 0 destroyed" in output
    assert deployed["instance_id"] in output


def test_newer_ami_changes_nothing(cdktf, deployed):
    publish_newer_ami(cdktf.sandbox)
    assert "No changes." in cdktf.passing("diff", settings=ON_BLOCK)


def test_opening_a_port_keeps_the_machine(cdktf, deployed):
    output = cdktf.passing("diff", settings={**ON_BLOCK, "allowedIps": ["203.0.113.0/24", "2001:db8::/64"]})
    assert "Plan: 0 to add, 1 to change, 0 to destroy." in output
    assert "aws_security_group.machine" in output


def test_changed_volume_size_plans_a_replacement(cdktf, deployed):
    """The plan must show the replacement: the guard of `invoke deploy` reads the same plan."""
    output = cdktf.passing("diff", settings={**ON_BLOCK, "volumeSize": 640})
    assert re.search(r"aws_instance\.machine \S+ must be replaced", output)


def test_password_is_only_in_the_secret(cdktf, deployed):
    secrets = client(cdktf.sandbox, "secretsmanager")
    password = secrets.get_secret_value(SecretId=deployed["secret_arn"])["SecretString"]
    assert re.fullmatch(r"[A-Za-z0-9]{32}", password)

    s3 = client(cdktf.sandbox, "s3")
    (bucket,) = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    versions = s3.list_object_versions(Bucket=bucket)["Versions"]
    written = [
        s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])["Body"].read()
        for version in versions
    ]
    assert any(deployed["instance_id"].encode() in state for state in written)

    folder = cdktf.sandbox.folder
    plans = [path for path in cdktf.output.rglob("plan") if zipfile.is_zipfile(path)]
    assert plans
    for plan in plans:
        with zipfile.ZipFile(plan) as archive:
            written += [archive.read(name) for name in archive.namelist()]
    written += [path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".terraform" not in path.parts]
    assert not [text for text in written if password.encode() in text]


def test_destroy_deletes_everything(cdktf, deployed):
    output = cdktf.passing("destroy", "--auto-approve", settings=ON_BLOCK)
    assert re.search(r"Destroy complete! Resources: \d+ destroyed", output)
    instances = client(cdktf.sandbox, "ec2").describe_instances(InstanceIds=[deployed["instance_id"]])
    assert instances["Reservations"][0]["Instances"][0]["State"]["Name"] in ("shutting-down", "terminated")
    assert client(cdktf.sandbox, "secretsmanager").list_secrets()["SecretList"] == []
    assert client(cdktf.sandbox, "ec2").describe_launch_templates()["LaunchTemplates"] == []


def test_project_folder_is_unchanged():
    """Runs write no files beside the sources."""
    created = [name for name in (".terraform", ".terraform.lock.hcl", "cdktf.log") if (PROJECT / name).exists()]
    assert created + [path.name for path in PROJECT.glob("*.tfstate*")] == []
