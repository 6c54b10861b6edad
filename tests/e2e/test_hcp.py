"""Deployments with their state in HCP Terraform: the real Terraform, and a stand-in for HCP's API.

The tests share one machine on demand and run in order; the last one destroys it.
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
    """Runs commands in a sandbox whose settings name a workspace."""

    sandbox: Sandbox
    hcp: HcpStandIn
    in_use: subprocess.Popen[str]
    """A command in the locked workspace IN_USE. Terraform retries for a minute, in parallel with the tests."""

    def invoke(self, *arguments: str) -> str:
        return run(self.sandbox, _command(*arguments))

    def refused(self, *arguments: str) -> str:
        with pytest.raises(SandboxError) as failed:
            self.invoke(*arguments)
        assert "Traceback" not in str(failed.value)
        return str(failed.value)

    def machines(self) -> list[str]:
        running = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        found = client(self.sandbox, "ec2").describe_instances(Filters=running)["Reservations"]
        return [instance["InstanceId"] for group in found for instance in group["Instances"]]


def _command(*arguments: str) -> list[str]:
    return ["sh", "-c", 'exec invoke "$@" 2>&1', "sh", *arguments]


def _settings(sandbox: Sandbox, workspace: str, name: str = "config.json") -> Path:
    """Write the sandbox's settings with this workspace to a file; returns its path."""
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
        other_settings = _settings(sandbox, IN_USE, "in-use.json")
        in_use = subprocess.Popen(
            _command("destroy", "--yes", "--delete-data"),
            cwd=PROJECT,
            env={**sandbox.environment, "TORCHNEURON_CONFIG": str(other_settings)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        yield Deployment(sandbox, hcp, in_use)
        in_use.kill()
        in_use.communicate()


@pytest.fixture(scope="module")
def machine(deployment) -> str:
    """Deploy for the first time, which creates the workspace; returns the machine's id."""
    deployment.invoke(*DEPLOY)
    launched: list[str] = deployment.machines()
    assert len(launched) == 1
    assert not deployment.hcp.workspace(WORKSPACE).locked
    return launched[0]


@pytest.fixture(scope="module")
def info(deployment, machine) -> dict[str, Any]:
    """The output of `invoke info -o json`."""
    found: dict[str, Any] = json.loads(run(deployment.sandbox, ["invoke", "info", "-o", "json"]))
    return found


def test_missing_token_is_reported_with_the_login_command(deployment, tmp_path):
    without = tmp_path / "without-token.tfrc"
    without.write_text(deployment.hcp.cli_config(token=False))
    environment = {**deployment.sandbox.environment, "TF_CLI_CONFIG_FILE": str(without)}
    sandbox = Sandbox(deployment.sandbox.folder, deployment.sandbox.access, environment)
    with pytest.raises(SandboxError) as refused:
        run(sandbox, _command(*DEPLOY))
    assert f"no token for {HOST}, where this deployment's state is. Nothing was changed." in str(refused.value)
    assert f"Run: terraform login {HOST}" in str(refused.value)


def test_info_finds_the_machine_in_the_workspace_state(machine, info):
    assert (info["foundBy"], [instance["id"] for instance in info["instances"]]) == ("state", [machine])


def test_second_deploy_changes_nothing(deployment, machine):
    assert "Nothing to change." in deployment.invoke("deploy", "--skip-setup")
    assert deployment.machines() == [machine]


def test_password_is_in_no_uploaded_state(deployment, machine, info):
    secrets = client(deployment.sandbox, "secretsmanager")
    password = secrets.get_secret_value(SecretId=info["secretArn"])["SecretString"]
    states = list(deployment.hcp.states())
    assert machine.encode() in b"".join(states)
    assert [state for state in states if password.encode() in state] == []


@pytest.mark.parametrize("command", [(*DEPLOY,), ("destroy", "--yes")])
def test_deploy_to_another_region_is_refused_in_the_same_workspace(deployment, machine, command):
    output = deployment.refused(*command, "-r", "us-east-2")
    assert f"This state holds the deployment in {REGION}, not one in us-east-2." in output
    assert "{region}" in output
    assert machine.encode() in (deployment.hcp.workspace(WORKSPACE).current.raw or b"")


def test_changing_the_workspace_of_a_deployment_is_refused(deployment, machine):
    _settings(deployment.sandbox, "another")
    try:
        output = deployment.refused(*DEPLOY)
    finally:
        _settings(deployment.sandbox, WORKSPACE)
    assert f"state is in the workspace {WORKSPACE} of {ORGANIZATION} at {HOST}" in output
    assert f"the settings now say the workspace another of {ORGANIZATION} at {HOST}" in output
    assert "another" not in deployment.hcp.workspaces


def test_destroy_deletes_everything_in_the_state(deployment, machine):
    assert "Removed." in deployment.invoke("destroy", "--yes")
    assert deployment.machines() == []
    resources = json.loads(deployment.hcp.workspace(WORKSPACE).current.raw or b"")["resources"]
    assert [resource["type"] for resource in resources if resource["mode"] == "managed"] == []


def test_locked_workspace_is_reported_with_the_unlock_command(deployment):
    output, _ = deployment.in_use.communicate(timeout=120)
    assert "Terraform's state is locked. Nothing was changed." in output
    assert f"The workspace {ORGANIZATION}/{IN_USE} is locked" in output
    unlock = next(line for line in output.splitlines() if "force-unlock" in line)
    run(deployment.sandbox, shlex.split(unlock))
    assert not deployment.hcp.workspace(IN_USE).locked
