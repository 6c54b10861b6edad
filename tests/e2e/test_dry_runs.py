"""`invoke deploy --dry-run` and `invoke destroy --dry-run`, with the real Terraform: they change and lock nothing.

The tests share one deployment and run in order.
"""

import hashlib
import re

import pytest

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import SandboxError, run
from tests.e2e.conftest import REGION, client
from tests.sandboxes import open_sandbox

READ_ONLY = re.compile(r"Describe|List|Get|Head")
ON_BLOCK = ("deploy", "--use-capacity-block", "--skip-setup", "--data-volume-size", "10", "-r", REGION)


@pytest.fixture(scope="module")
def sandbox():
    """A rehearsal with an active, saved block and a state bucket. Its machine has no host."""
    with open_sandbox(region=REGION, host_suite="none") as sandbox:
        main_job.prepare(Demo(sandbox, REGION))
        yield sandbox


def stored(sandbox):
    """The hashes of the settings and of all objects in the state bucket, and the states of the instances."""
    s3 = client(sandbox, "s3")
    (bucket,) = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    objects = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    objects["settings"] = (sandbox.folder / "config.json").read_bytes()
    groups = client(sandbox, "ec2").describe_instances()["Reservations"]
    instances = {
        instance["InstanceId"]: instance["State"]["Name"] for group in groups for instance in group["Instances"]
    }
    return {key: hashlib.sha256(text).hexdigest() for key, text in objects.items()} | instances


@pytest.fixture
def dry(sandbox):
    """Runs a dry run, checks that AWS, the state and the settings are unchanged, and returns the output."""

    def dry_run(*arguments, refused=False):
        calls, content = sandbox.control("calls"), stored(sandbox)
        command = ["sh", "-c", 'exec invoke "$@" --dry-run 2>&1', "sh", *arguments]
        if refused:
            with pytest.raises(SandboxError) as failed:
                run(sandbox, command)
            output = str(failed.value)
        else:
            output = run(sandbox, command)
        called = {
            operation
            for service, times in sandbox.control("calls").items()
            for operation, count in times.items()
            if count > calls.get(service, {}).get(operation, 0)
        }
        # The launch check calls RunInstances with EC2's DryRun; `stored` shows that nothing was launched.
        assert [operation for operation in called - {"RunInstances"} if not READ_ONLY.match(operation)] == []
        assert stored(sandbox) == content
        copies = (sandbox.folder / "cdktf.out" / "invoke" / f"{REGION}-dry-run").glob("copy.tfstate*")
        assert list(copies) == []
        return output

    return dry_run


@pytest.mark.attack("makes a newcomer's deploy --dry-run launch a machine", long=True)
def test_dry_run_of_the_first_deploy_shows_what_it_would_create(sandbox, dry):
    output = dry(*ON_BLOCK)
    assert re.search(r"create +│ aws_instance\.machine\[0\]", output)
    assert "Dry run. Nothing was changed." in output


@pytest.mark.attack("makes a newcomer's deploy or destroy --dry-run delete a machine", long=True)
def test_dry_run_of_a_redeploy_shows_what_it_would_delete(sandbox, dry):
    run(sandbox, ["invoke", *ON_BLOCK])
    (machine,) = [
        instance["InstanceId"]
        for group in client(sandbox, "ec2").describe_instances()["Reservations"]
        for instance in group["Instances"]
    ]
    assert "Nothing to change." in dry("deploy", "--skip-setup", "-r", REGION)
    larger = ("deploy", "--skip-setup", "-r", REGION, "--volume-size", "640")
    assert "volume_size 500 -> 640" in dry(*larger, refused=True)
    output = dry(*larger, "--allow-replace")
    assert f"Would be lost, with its data: {machine}." in output
    output = dry("destroy", "-r", REGION)
    assert re.search(r"aws_instance +│ aws_instance\.machine\[0\]", output)
    assert "Stays: vol-" in output
    assert "Dry run. Nothing was removed." in output
    assert "Nothing to change." in run(sandbox, ["sh", "-c", f"invoke deploy --skip-setup -r {REGION} 2>&1"])
