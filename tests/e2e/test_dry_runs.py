"""`invoke deploy --dry-run` and `invoke destroy --dry-run`, with the real Terraform: nothing is changed or locked.

One deployment serves the tests in the order they stand in.
"""

import hashlib
import re

import pytest

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import SandboxError, run
from tests.e2e.conftest import REGION, client
from tests.sandboxes import open_sandbox

LOOKS = re.compile(r"Describe|List|Get|Head")
ON_BLOCK = ("deploy", "--use-capacity-block", "--skip-setup", "--data-volume-size", "10", "-r", REGION)


@pytest.fixture(scope="module")
def sandbox():
    """A rehearsal where a block has been bought and has begun, and a state bucket made. Its machine has no host."""
    with open_sandbox(region=REGION, host_suite="none") as sandbox:
        main_job.prepare(Demo(sandbox, REGION))
        yield sandbox


def stored(sandbox):
    """Every object in the state bucket with its text's hash, the settings, and the instances there are."""
    s3 = client(sandbox, "s3")
    (bucket,) = [one["Name"] for one in s3.list_buckets()["Buckets"]]
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    objects = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    objects["settings"] = (sandbox.folder / "config.json").read_bytes()
    groups = client(sandbox, "ec2").describe_instances()["Reservations"]
    instances = {one["InstanceId"]: one["State"]["Name"] for group in groups for one in group["Instances"]}
    return {key: hashlib.sha256(text).hexdigest() for key, text in objects.items()} | instances


@pytest.fixture
def dry(sandbox):
    """Runs a dry run; what it printed. It has to leave AWS, the state and the settings as they were."""

    def try_out(*words, refused=False):
        before, kept = sandbox.control("calls"), stored(sandbox)
        line = ["sh", "-c", 'exec invoke "$@" --dry-run 2>&1', "sh", *words]
        if refused:
            with pytest.raises(SandboxError) as failed:
                run(sandbox, line)
            told = str(failed.value)
        else:
            told = run(sandbox, line)
        asked = {
            operation
            for service, times in sandbox.control("calls").items()
            for operation, count in times.items()
            if count > before.get(service, {}).get(operation, 0)
        }
        # The launch check asks RunInstances with EC2's own DryRun; `stored` shows that nothing was launched.
        assert [operation for operation in asked - {"RunInstances"} if not LOOKS.match(operation)] == []
        assert stored(sandbox) == kept
        copies = (sandbox.folder / "cdktf.out" / "invoke" / f"{REGION}-dry-run").glob("copy.tfstate*")
        assert list(copies) == []
        return told

    return try_out


@pytest.mark.attack("A newcomer tries deploy with --dry-run, and it launches", long=True)
def test_a_dry_run_of_the_first_deploy_shows_what_would_be_made(sandbox, dry):
    told = dry(*ON_BLOCK)
    assert re.search(r"create +│ aws_instance\.machine\[0\]", told)
    assert "Dry run. Nothing was changed." in told


@pytest.mark.attack("A newcomer tries deploy or destroy with --dry-run, and a machine is lost", long=True)
def test_a_dry_run_of_a_redeploy_shows_what_would_be_lost(sandbox, dry):
    run(sandbox, ["invoke", *ON_BLOCK])
    (machine,) = [
        one["InstanceId"]
        for group in client(sandbox, "ec2").describe_instances()["Reservations"]
        for one in group["Instances"]
    ]
    assert "Nothing to change." in dry("deploy", "--skip-setup", "-r", REGION)
    larger = ("deploy", "--skip-setup", "-r", REGION, "--volume-size", "640")
    assert "volume_size 500 -> 640" in dry(*larger, refused=True)
    told = dry(*larger, "--allow-replace")
    assert f"Would be lost, with its data: {machine}." in told
    told = dry("destroy", "-r", REGION)
    assert re.search(r"aws_instance +│ aws_instance\.machine\[0\]", told)
    assert "Stays: vol-" in told
    assert "Dry run. Nothing was removed." in told
    assert "Nothing to change." in run(sandbox, ["sh", "-c", f"invoke deploy --skip-setup -r {REGION} 2>&1"])
