"""The synthesized folder on an empty machine with only AWS credentials, as in a run of HCP Terraform."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.e2e.conftest import PROJECT, REGION, client
from tests.sandboxes import open_sandbox

STACK = "torchneuron-code-server"


@pytest.fixture(scope="module")
def sandbox():
    with open_sandbox(region=REGION, host_suite="none") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def moved(sandbox, tmp_path_factory):
    """Synthesize two machines on demand for a workspace, and copy the result to another folder; returns the folder.

    HCP Terraform replaces the `cloud` block with its own backend; the test replaces it with a local one.
    """
    ec2 = client(sandbox, "ec2")
    subnet = ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": [f"{REGION}b"]}])["Subnets"][0]
    path = sandbox.folder / "config.json"
    backend = {"type": "hcp", "organization": "an-org", "workspace": "code-server-{region}"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "backend": backend}))
    settings = {"count": 2, "dataVolumeSize": 10, "subnetId": subnet["SubnetId"]}
    environment = {**sandbox.environment, "CDKTF_CONTEXT_JSON": json.dumps(settings)}
    subprocess.run(["python", "main.py"], cwd=PROJECT, env=environment, check=True)
    folder = tmp_path_factory.mktemp("elsewhere")
    synthesized = sandbox.folder / "cdktf.out" / "stacks" / STACK / "cdk.tf.json"
    assert json.loads(synthesized.read_text())["terraform"]["cloud"] == {
        "organization": "an-org",
        "workspaces": {"name": f"code-server-{REGION}"},
    }
    shutil.copy(synthesized, folder)
    (folder / "backend_override.tf.json").write_text(json.dumps({"terraform": {"backend": {"local": {}}}}))
    return folder


@pytest.fixture(scope="module")
def terraform(sandbox, moved):
    """Runs Terraform in the copied folder, with the AWS credentials and no other settings of this project."""
    kept = ("PATH", "HOME", "TF_CLI_CONFIG_FILE", "CHECKPOINT_DISABLE", "NO_PROXY", "no_proxy")
    environment = {
        name: value for name, value in sandbox.environment.items() if name in kept or name.startswith("AWS_")
    }

    def call(*arguments, status=0):
        done = subprocess.run(
            ["terraform", *arguments, "-no-color"],
            cwd=moved,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr + done.stdout
        return done.stdout

    return call


def test_copied_folder_plans_and_applies_unchanged(sandbox, terraform, moved):
    terraform("init", "-input=false")
    terraform("plan", "-input=false", "-out=plan", "-detailed-exitcode", status=2)
    assert "0 changed, 0 destroyed" in terraform("apply", "-input=false", "plan")
    outputs = json.loads(terraform("output", "-json"))
    ids = outputs["instance_ids"]["value"]
    assert len(set(ids)) == 2
    assert outputs["choices"]["value"]["count"] == 2
    attached = {
        volume["Attachments"][0]["InstanceId"]
        for volume in client(sandbox, "ec2").describe_volumes(VolumeIds=outputs["data_volume_ids"]["value"])["Volumes"]
    }
    assert attached == set(ids)


def test_second_plan_finds_nothing_to_change(terraform):
    terraform("plan", "-input=false", "-detailed-exitcode")


def test_password_is_in_no_written_file(sandbox, terraform, moved):
    arn = json.loads(terraform("output", "-json"))["secret_arn"]["value"]
    password = client(sandbox, "secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    files = [path for path in moved.rglob("*") if path.is_file() and ".terraform" not in path.parts]
    written = {path: path.read_bytes() for path in files}
    assert any(path.name == "terraform.tfstate" for path in written)
    assert [path for path, text in written.items() if password.encode() in text] == []


def test_destroy_deletes_everything(sandbox, terraform):
    terraform("destroy", "-input=false", "-auto-approve")
    ours = [{"Name": "tag-key", "Values": ["Project"]}]
    assert client(sandbox, "ec2").describe_volumes(Filters=ours)["Volumes"] == []
