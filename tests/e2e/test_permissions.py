"""Commands that run Terraform, by users with only the policy of the command.

The tests share one deployment and run in order; the last one destroys it.
"""

import dataclasses
import functools

import pytest

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import run
from tests.e2e.conftest import REGION
from tests.functional.asking import allowed, asked
from tests.functional.principals import user_with
from tests.sandboxes import open_sandbox


@pytest.fixture(scope="module")
def sandbox():
    """A rehearsal with an active, saved block and a state bucket. Its machine has no host."""
    with open_sandbox(region=REGION, host_suite="none") as sandbox:
        main_job.prepare(Demo(sandbox, REGION))
        yield sandbox


@pytest.fixture(scope="module")
def users(sandbox):
    """The sandbox with the credentials of a user who only has the policy of a command: `users("deploy")`."""

    @functools.cache
    def user(command):
        printed = run(sandbox, ["invoke", "doctor", "--policy", command])
        keys = user_with(sandbox.client("iam", REGION), command.replace(".", "-"), printed)
        return dataclasses.replace(sandbox, environment={**sandbox.environment, **keys})

    return user


@pytest.fixture
def actions_of(sandbox, users):
    """Runs a command as a user with its policy; returns the IAM actions that it used."""

    def run_command(command, *arguments):
        user = users(command)
        return asked(lambda: sandbox.control("calls"), lambda: run(user, ["invoke", command, *arguments]))

    return run_command


def test_deploying(actions_of):
    used = actions_of("deploy", "--use-capacity-block", "-r", REGION, "--skip-setup", "--data-volume-size", "10")
    assert used - allowed("deploy") == set()
    assert {
        "ec2:RunInstances",
        "ec2:CreateVolume",
        "ec2:AttachVolume",
        "iam:CreateRole",
        "secretsmanager:PutSecretValue",
        "s3:DeleteObject",
    } <= used


def test_replacing_the_machine(actions_of):
    changes = ["--allowed-ip", "203.0.113.7/32", "--volume-size", "600", "--allow-replace"]
    used = actions_of("deploy", "--use-capacity-block", "-r", REGION, "--skip-setup", *changes)
    assert used - allowed("deploy") == set()
    assert {"ec2:CreateLaunchTemplateVersion", "ec2:AuthorizeSecurityGroupIngress"} <= used


def test_info_and_password(actions_of):
    reads = {"s3:ListBucket", "s3:GetObject", "ec2:DescribeInstances", "ec2:DescribeCapacityReservations"}
    assert actions_of("info", "-r", REGION) == {*reads, "ec2:DescribeSecurityGroups"}
    assert actions_of("password", "-r", REGION) == {*reads, "secretsmanager:GetSecretValue"}
    assert allowed("info") & allowed("password") >= reads


def test_info_without_a_state(sandbox, actions_of):
    path = sandbox.folder / "config.json"
    settings = path.read_text()
    bucket = sandbox.settings()["backend"]["bucket"]
    path.write_text(settings.replace(f'"{bucket}"', "null"))
    used = actions_of("info", "-r", REGION)
    path.write_text(settings)
    assert used - allowed("info") == set()
    assert {"secretsmanager:ListSecrets", "ec2:DescribeVolumes"} <= used


def test_setup_without_an_instance_id(actions_of):
    """How setup finds the machine and the password. tests/functional/test_permissions.py runs the whole setup."""
    used = actions_of("setup", "-r", REGION, "--dry-run")
    assert used <= allowed("setup")
    assert {"ec2:DescribeVolumes", "secretsmanager:DescribeSecret"} <= used
    assert "secretsmanager:GetSecretValue" not in used


def test_destroying(actions_of):
    used = actions_of("destroy", "-r", REGION, "--yes", "--delete-data")
    assert used - allowed("destroy") == set()
    assert {"ec2:TerminateInstances", "ec2:DeleteVolume", "iam:DeleteRole", "secretsmanager:DeleteSecret"} <= used
