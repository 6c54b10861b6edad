"""The machine of the main job, deployed once per Debian release and shared by many tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from rehearsal.hosts import requirements
from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import Sandbox, SandboxError, run
from tests.e2e.leaks import TransientRecorder
from tests.sandboxes import open_sandbox

PROJECT = Path(__file__).resolve().parents[2]
REGION = "sa-east-1"
SUITES = ("trixie", "bookworm")


@dataclass(frozen=True)
class Machine:
    """A deployed machine with code-server set up.

    `port` is the local port of its nginx, `output` what deploy printed, `transient` what existed only during deploy.
    """

    suite: str
    sandbox: Sandbox
    instance_id: str
    port: int
    password: str
    output: str
    transient: Mapping[str, bytes]

    def invoke(self, *arguments: str) -> str:
        """Run an Invoke task against the rehearsal; returns its standard output and error."""
        return run(self.sandbox, ["sh", "-c", 'exec invoke "$@" 2>&1', "sh", *arguments])

    def invoke_failing(self, *arguments: str) -> str:
        """Run an Invoke task that has to fail; returns its standard output and error."""
        with pytest.raises(SandboxError) as failed:
            self.invoke(*arguments)
        return str(failed.value)

    def on_host(self, script: str) -> str:
        """Run a script on the machine with SSM Run Command; returns its standard output."""
        return ssm_run(self.sandbox, self.instance_id, script)


def ssm_run(sandbox: Sandbox, instance_id: str, script: str) -> str:
    ssm = client(sandbox, "ssm")
    sent = ssm.send_command(
        InstanceIds=[instance_id], DocumentName="AWS-RunShellScript", Parameters={"commands": [script]}
    )
    command_id = sent["Command"]["CommandId"]
    ssm.get_waiter("command_executed").wait(
        CommandId=command_id, InstanceId=instance_id, WaiterConfig={"Delay": 0.1, "MaxAttempts": 1200}
    )
    got = ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
    return str(got["StandardOutputContent"])


AMI_PARAMETER = "/test/newest-ami"


def use_test_ami_parameter(sandbox) -> None:
    """Make deployments read the newest AMI from a parameter that tests can change, unlike AWS's own."""
    regions = sandbox.settings()["regions"]
    ssm = client(sandbox, "ssm")
    newest = ssm.get_parameter(Name=regions[REGION]["amiParameter"])["Parameter"]["Value"]
    ssm.put_parameter(Name=AMI_PARAMETER, Value=newest, Type="String")
    path = sandbox.folder / "config.json"
    settings = {**sandbox.settings(), "regions": {**regions, REGION: {"amiParameter": AMI_PARAMETER}}}
    path.write_text(json.dumps(settings))


def newest_ami(sandbox) -> str:
    return str(client(sandbox, "ssm").get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"])


def publish_newer_ami(sandbox) -> None:
    newer = client(sandbox, "ec2").copy_image(Name="newer", SourceImageId=newest_ami(sandbox), SourceRegion=REGION)
    client(sandbox, "ssm").put_parameter(Name=AMI_PARAMETER, Value=newer["ImageId"], Type="String", Overwrite=True)


def client(sandbox, service):
    """A boto3 client for the sandbox's AWS."""
    return sandbox.client(service, REGION)


@pytest.fixture(scope="session", autouse=True)
def components() -> None:
    """Fail the tests when a required program is missing, and print how to install it. Tests are never skipped."""
    missing = [item for suite in SUITES for item in requirements.missing(suite)]
    problems = [f"{item.what}: {item.why} {item.remedy}" for item in missing]
    problems += [
        f"{program} is missing: {remedy}"
        for program, remedy in (
            ("terraform", "install Terraform 1.11 or newer"),
            ("chromium", "apt-get install chromium"),
            ("node", "install Node 20 or newer"),
        )
        if shutil.which(program) is None
    ]
    if not (PROJECT / "node_modules" / ".bin" / "cdktf").exists():
        problems.append("cdktf-cli is missing: make setup")
    if problems:
        pytest.fail("\n".join(dict.fromkeys(problems)), pytrace=False)


@pytest.fixture(scope="session", params=SUITES[:1])
def machine(request, components) -> Iterator[Machine]:
    """A deployed machine on the newest Debian; `test_browser` uses one on each of SUITES."""
    with open_sandbox(region=REGION, host_suite=request.param) as sandbox:
        with TransientRecorder(sandbox, REGION) as recorder:
            main_job.prepare(Demo(sandbox, REGION))
            deploy = ["sh", "-c", f"exec invoke deploy --use-capacity-block -r {REGION} 2>&1"]
            output = run(sandbox, deploy)
            password = run(sandbox, ["invoke", "password", "-r", REGION]).strip()
        (instance_id,) = sandbox.control("status")["hosts"]
        port = sandbox.control("forward", {"instance_id": instance_id, "port": 80})["port"]
        yield Machine(request.param, sandbox, instance_id, port, password, output, recorder.recorded())


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """The folder for screenshots and other output for people."""
    folder = PROJECT / ".artifacts"
    folder.mkdir(exist_ok=True)
    return folder
