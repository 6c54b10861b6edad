"""Rehearsals that keep their AWS in a folder, each in a process of its own, and what tests do with them."""

import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from rehearsal.client import Access
from tests.functional.rehearsal_support import PERMITTING, make_profile, online
from tests.functional.support import AMI_PARAMETER, eventually

PROJECT = Path(__file__).resolve().parents[2]
REGION = "sa-east-1"
SESSION = boto3.session.Session()
"""One, as each reads the services' models anew."""


@dataclass
class Served:
    process: subprocess.Popen[bytes]
    access: Access
    folder: Path
    clients: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, service):
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        if service not in self.clients:
            keys = self.access.access_key_id, self.access.secret_access_key
            where: dict[str, Any] = {"endpoint_url": self.access.endpoint, "config": config}
            self.clients[service] = SESSION.client(
                service, REGION, aws_access_key_id=keys[0], aws_secret_access_key=keys[1], **where
            )
        return self.clients[service]

    def control(self, path, body=None):
        return self.access.control(path, body)

    def end(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(120)

    def launch(self, **more):
        """An instance without a role, so one that nobody manages."""
        image = self.ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]
        ask = {"ImageId": image, "InstanceType": "inf2.xlarge", "MinCount": 1, "MaxCount": 1, "ClientToken": "token"}
        return self.ec2.run_instances(**{**ask, **more})["Instances"][0]

    def launch_managed(self, **more):
        """The id of one that takes commands."""
        profile = make_profile(self.iam, "managed", PERMITTING)
        made = self.launch(IamInstanceProfile={"Name": profile}, **more)["InstanceId"]
        self.await_online(made)
        return made

    def await_online(self, instance_id):
        eventually(lambda: self.host(instance_id) not in (None, "booting"))
        assert self.host(instance_id).startswith("running")
        assert instance_id in online(self.ssm)

    def instance(self, instance_id):
        (found,) = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
        return found

    def state_of(self, instance_id):
        return self.instance(instance_id)["State"]["Name"]

    def host(self, instance_id):
        return self.control("status")["hosts"].get(instance_id)

    def send(self, instance_id, *lines):
        send = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": list(lines)}}
        return self.ssm.send_command(InstanceIds=[instance_id], **send)["Command"]["CommandId"]

    def result(self, instance_id, command_id):
        """The invocation of a command, once it has ended."""
        waiter = self.ssm.get_waiter("command_executed")
        which = {"InstanceId": instance_id, "CommandId": command_id}
        waiter.wait(**which, WaiterConfig={"Delay": 0.1, "MaxAttempts": 1200})
        return self.ssm.get_command_invocation(**which)

    def shell(self, instance_id, *lines):
        """What a script prints on the instance; it has to succeed."""
        return self.result(instance_id, self.send(instance_id, *lines))["StandardOutputContent"]


def command(folder, *arguments):
    """The command line of a rehearsal that keeps its AWS in the folder."""
    return [sys.executable, "-m", "rehearsal", "--with-parent", "--state", str(folder), *arguments]


@pytest.fixture
def serve(tmp_path):
    """Starts a rehearsal that keeps its AWS in one folder; only one at a time."""
    started = []

    def go(*arguments, host_suite="none"):
        ready = tmp_path / "ready.json"
        ready.unlink(missing_ok=True)
        suite = ["--host-suite", host_suite] if host_suite else []
        words = command(tmp_path / "aws", *suite, "--ready-file", str(ready), *arguments)
        process = subprocess.Popen(words, cwd=PROJECT)
        started.append(process)
        eventually(ready.exists)
        return Served(process, Access.from_ready_file(ready), tmp_path / "aws")

    yield go
    for process in started:
        process.kill()
        process.wait()
