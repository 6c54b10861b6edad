"""Deployments whose state is in HCP Terraform: the real Terraform, and a stand-in for HCP's API.

One machine on demand serves the tests in the order they stand in; the last one removes it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rehearsal.scenarios.sandbox import Sandbox, SandboxError, run
from tests.e2e.conftest import PROJECT, REGION, client
from tests.e2e.hcp_stand_in import HOST, ORGANIZATION, HcpStandIn, serving
from tests.sandboxes import open_sandbox

WORKSPACE, IN_USE = "code-server", "in-use"
DEPLOY = ("deploy", "--skip-setup", "-t", "trn2.3xlarge", "--on-demand", "--yes")


@dataclass(frozen=True)
class Deployment:
    """The commands in a sandbox that is connected to a workspace."""

    sandbox: Sandbox
    hcp: HcpStandIn
    in_use: subprocess.Popen[str]
    """A command in the workspace IN_USE, which somebody has locked: Terraform tries for a minute, beside the tests."""

    def invoke(self, *arguments: str) -> str:
        return run(self.sandbox, _command(*arguments))

    def refused(self, *arguments: str) -> str:
        with pytest.raises(SandboxError) as failed:
            self.invoke(*arguments)
        assert "Traceback" not in str(failed.value)
        return str(failed.value)

    def machines(self) -> list[str]:
        there = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        found = client(self.sandbox, "ec2").describe_instances(Filters=there)["Reservations"]
        return [one["InstanceId"] for group in found for one in group["Instances"]]


def _command(*arguments: str) -> list[str]:
    return ["sh", "-c", 'exec invoke "$@" 2>&1', "sh", *arguments]


def _settings(sandbox: Sandbox, workspace: str, name: str = "config.json") -> Path:
    """The sandbox's settings with that workspace, in a file beside or in place of them."""
    backend = {"type": "hcp", "organization": ORGANIZATION, "workspace": workspace, "hostname": HOST}
    path = sandbox.folder / name
    changed = {"backend": backend, "outputDir": f"cdktf.out.{name}"}
    path.write_text(json.dumps({**sandbox.settings(), **changed}))
    return path


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with serving() as hcp, open_sandbox(region=REGION, host_suite="none") as sandbox:
        cli_config = Path(sandbox.environment["TF_CLI_CONFIG_FILE"])
        cli_config.write_text(cli_config.read_text() + hcp.cli_config())
        _settings(sandbox, WORKSPACE)
        hcp.workspace(IN_USE).lock()
        somebody = _settings(sandbox, IN_USE, "in-use.json")
        in_use = subprocess.Popen(
            _command("destroy", "--yes", "--delete-data"),
            cwd=PROJECT,
            env={**sandbox.environment, "TORCHNEURON_CONFIG": str(somebody)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        yield Deployment(sandbox, hcp, in_use)
        in_use.kill()
        in_use.communicate()


@pytest.fixture(scope="module")
def machine(deployment) -> str:
    """The first deploy, into a workspace that is not there yet; its machine."""
    deployment.invoke(*DEPLOY)
    launched: list[str] = deployment.machines()
    assert len(launched) == 1
    assert not deployment.hcp.workspace(WORKSPACE).locked
    return launched[0]


@pytest.fixture(scope="module")
def told(deployment, machine) -> dict[str, Any]:
    """What `invoke info` says of it."""
    found: dict[str, Any] = json.loads(run(deployment.sandbox, ["invoke", "info", "-o", "json"]))
    return found


def test_without_a_token_the_command_that_gets_one_is_told(deployment, tmp_path):
    without = tmp_path / "without-token.tfrc"
    without.write_text(deployment.hcp.cli_config(token=False))
    environment = {**deployment.sandbox.environment, "TF_CLI_CONFIG_FILE": str(without)}
    sandbox = Sandbox(deployment.sandbox.folder, deployment.sandbox.access, environment)
    with pytest.raises(SandboxError) as refused:
        run(sandbox, _command(*DEPLOY))
    assert f"no token for {HOST}, where this deployment's state is. Nothing was changed." in str(refused.value)
    assert f"Run: terraform login {HOST}" in str(refused.value)


def test_what_was_deployed_is_known_by_the_workspaces_state(machine, told):
    assert (told["foundBy"], [one["id"] for one in told["instances"]]) == ("state", [machine])


def test_the_second_deploy_has_nothing_to_change(deployment, machine):
    assert "Nothing to change." in deployment.invoke("deploy", "--skip-setup")
    assert deployment.machines() == [machine]


def test_the_password_is_in_no_state_that_was_ever_uploaded(deployment, machine, told):
    secrets = client(deployment.sandbox, "secretsmanager")
    password = secrets.get_secret_value(SecretId=told["secretArn"])["SecretString"]
    states = list(deployment.hcp.states())
    assert machine.encode() in b"".join(states)
    assert [state for state in states if password.encode() in state] == []


@pytest.mark.parametrize("command", [(*DEPLOY,), ("destroy", "--yes")])
def test_another_region_is_refused_in_the_same_workspace(deployment, machine, command):
    told = deployment.refused(*command, "-r", "us-east-2")
    assert f"This state holds the deployment in {REGION}, not one in us-east-2." in told
    assert "{region}" in told
    assert machine.encode() in (deployment.hcp.workspace(WORKSPACE).current.raw or b"")


def test_another_workspace_is_refused_in_the_settings(deployment, machine):
    _settings(deployment.sandbox, "another")
    try:
        told = deployment.refused(*DEPLOY)
    finally:
        _settings(deployment.sandbox, WORKSPACE)
    assert f"state is in the workspace {WORKSPACE} of {ORGANIZATION} at {HOST}" in told
    assert f"the settings now say the workspace another of {ORGANIZATION} at {HOST}" in told
    assert "another" not in deployment.hcp.workspaces


def test_destroy_leaves_nothing_in_the_state(deployment, machine):
    assert "Removed." in deployment.invoke("destroy", "--yes")
    assert deployment.machines() == []
    left = json.loads(deployment.hcp.workspace(WORKSPACE).current.raw or b"")["resources"]
    assert [one["type"] for one in left if one["mode"] == "managed"] == []


def test_a_locked_workspace_is_told_with_the_command_that_unlocks_it(deployment):
    told, _ = deployment.in_use.communicate(timeout=120)
    assert "Terraform's state is locked. Nothing was changed." in told
    assert f"The workspace {ORGANIZATION}/{IN_USE} is locked" in told
    unlock = next(line for line in told.splitlines() if "force-unlock" in line)
    run(deployment.sandbox, shlex.split(unlock))
    assert not deployment.hcp.workspace(IN_USE).locked
