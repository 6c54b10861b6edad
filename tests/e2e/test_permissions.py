"""Commands that run Terraform, by users who have nothing but their policy: its provider and its state included.

One deployment serves the tests in the order they stand in; the last one destroys it.
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
    """A rehearsal where a block has been bought and has begun, and a state bucket made. Its machine has no host."""
    with open_sandbox(region=REGION, host_suite="none") as sandbox:
        main_job.prepare(Demo(sandbox, REGION))
        yield sandbox


@pytest.fixture(scope="module")
def users(sandbox):
    """The sandbox as a user who has the policy of a command and nothing else: `users("deploy")`."""

    @functools.cache
    def user(command):
        printed = run(sandbox, ["invoke", "doctor", "--policy", command])
        keys = user_with(sandbox.client("iam", REGION), command.replace(".", "-"), printed)
        return dataclasses.replace(sandbox, environment={**sandbox.environment, **keys})

    return user


@pytest.fixture
def of(sandbox, users):
    """The actions behind what a command asks for, run by a user who has its policy."""

    def go(command, *words):
        user = users(command)
        return asked(lambda: sandbox.control("calls"), lambda: run(user, ["invoke", command, *words]))

    return go


def test_deploying(of):
    seen = of("deploy", "--use-capacity-block", "-r", REGION, "--skip-setup", "--data-volume-size", "10")
    assert seen - allowed("deploy") == set()
    assert {
        "ec2:RunInstances",
        "ec2:CreateVolume",
        "ec2:AttachVolume",
        "iam:CreateRole",
        "secretsmanager:PutSecretValue",
        "s3:DeleteObject",
    } <= seen


def test_deploying_again_with_another_machine(of):
    changes = ["--allowed-ip", "203.0.113.7/32", "--volume-size", "600", "--allow-replace"]
    seen = of("deploy", "--use-capacity-block", "-r", REGION, "--skip-setup", *changes)
    assert seen - allowed("deploy") == set()
    assert {"ec2:CreateLaunchTemplateVersion", "ec2:AuthorizeSecurityGroupIngress"} <= seen


def test_looking(of):
    looking = {"s3:ListBucket", "s3:GetObject", "ec2:DescribeInstances", "ec2:DescribeCapacityReservations"}
    assert of("info", "-r", REGION) == {*looking, "ec2:DescribeSecurityGroups"}
    assert of("password", "-r", REGION) == {*looking, "secretsmanager:GetSecretValue"}
    assert allowed("info") & allowed("password") >= looking


def test_looking_without_a_state(sandbox, of):
    path = sandbox.folder / "config.json"
    settings = path.read_text()
    bucket = sandbox.settings()["backend"]["bucket"]
    path.write_text(settings.replace(f'"{bucket}"', "null"))
    seen = of("info", "-r", REGION)
    path.write_text(settings)
    assert seen - allowed("info") == set()
    assert {"secretsmanager:ListSecrets", "ec2:DescribeVolumes"} <= seen


def test_setting_up_without_naming_the_machine(of):
    """The whole setup is in tests/functional/test_permissions.py; this is how it finds the machine and the password."""
    seen = of("setup", "-r", REGION, "--dry-run")
    assert seen <= allowed("setup")
    assert {"ec2:DescribeVolumes", "secretsmanager:DescribeSecret"} <= seen
    assert "secretsmanager:GetSecretValue" not in seen


def test_destroying(of):
    seen = of("destroy", "-r", REGION, "--yes", "--delete-data")
    assert seen - allowed("destroy") == set()
    assert {"ec2:TerminateInstances", "ec2:DeleteVolume", "iam:DeleteRole", "secretsmanager:DeleteSecret"} <= seen
