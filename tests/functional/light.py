"""A fleet of light hosts behind an AWS in its own process, and runs of setup tasks on it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.scenarios.sandbox import Sandbox
from tests.functional.rehearsal_support import PERMITTING, make_profile
from tests.functional.support import AMI_PARAMETER, eventually
from tests.sandboxes import open_sandbox
from tests.unit.setup_support import WORDS, Recorder, member, rendered
from torchneuron.setup.plan import TaskSelection
from torchneuron.setup.run import DispatchOptions, Runner
from torchneuron.setup.run_command import RunCommand
from torchneuron.setup.state import State
from torchneuron.setup.steps import Outcome

REGION = "sa-east-1"
RAN = "/var/tmp/ran"
"""The file on a host where tasks log each run."""

HELD = f"until [ -e {RAN}-on ]; do sleep 0.1; done"
"""The command with which a task waits for `Fleet.release`."""


def note(name: str) -> str:
    """The command with which a task logs its run."""
    return f"echo {name} >>{RAN}"


@dataclass(eq=False)
class Fleet:
    """Light hosts and their AWS."""

    sandbox: Sandbox
    instance_ids: list[str]

    def client(self, service: str) -> Any:
        return self.sandbox.client(service, REGION, retries=False)

    def shell(self, script: str, *instance_ids: str) -> str:
        """Run a script through SSM on these instances, or the first; returns its standard output."""
        ssm, ids = self.client("ssm"), instance_ids or self.instance_ids[:1]
        sent = ssm.send_command(
            InstanceIds=list(ids), DocumentName="AWS-RunShellScript", Parameters={"commands": script.splitlines()}
        )
        texts = []
        for instance_id in ids:
            invocation = {"InstanceId": instance_id, "CommandId": sent["Command"]["CommandId"]}
            ssm.get_waiter("command_executed").wait(**invocation, WaiterConfig={"Delay": 0.05, "MaxAttempts": 2400})
            texts.append(ssm.get_command_invocation(**invocation)["StandardOutputContent"])
        return "".join(texts)

    def release(self) -> None:
        """Let `HELD` tasks on the first instance continue."""
        self.shell(f"touch {RAN}-on")

    def ran(self, instance_id: str = "") -> list[str]:
        """The runs that tasks logged since the last call."""
        return self.shell(f"cat {RAN} 2>/dev/null; rm -f {RAN}", *filter(None, [instance_id])).split()


@contextmanager
def light_fleet(count: int) -> Iterator[Fleet]:
    with open_sandbox(region=REGION, host_suite="light") as sandbox:
        sandbox.control("latency", {"visible": 0.05, "delivery": 0.05})
        fleet = Fleet(sandbox, [])
        ec2, ssm = fleet.client("ec2"), fleet.client("ssm")
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "Team", "Value": "ml"}]}]
        launched = ec2.run_instances(
            ImageId=ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"],
            InstanceType="inf2.xlarge",
            MinCount=count,
            MaxCount=count,
            IamInstanceProfile={"Name": make_profile(fleet.client("iam"), "managed", PERMITTING)},
            TagSpecifications=tags,
        )
        fleet.instance_ids += [instance["InstanceId"] for instance in launched["Instances"]]
        known = ssm.get_paginator("describe_instance_information")
        eventually(lambda: sum(len(page["InstanceInformationList"]) for page in known.paginate()) == count)
        yield fleet


@dataclass
class Laptop:
    """A laptop that runs tasks: a folder for state, and clients.

    It takes an instance for a new one, unless `new_itself`: then it gets the state from SSM.
    """

    fleet: Fleet
    folder: Path
    dispatch: DispatchOptions = field(default_factory=DispatchOptions)
    new_itself: bool = False
    monitor: Recorder = field(default_factory=Recorder)

    def commands(self) -> RunCommand:
        ssm = self.fleet.client("ssm")
        return RunCommand(ssm, ssm, "tests")

    def runner(self, commands: RunCommand | None = None) -> Runner:
        self.monitor = Recorder()
        return Runner(
            commands or self.commands(),
            self.monitor,
            WORDS,
            self.dispatch,
            sleep=lambda seconds: time.sleep(seconds / 10),
        )

    def run(
        self,
        tasks: Sequence[dict[str, Any]],
        *,
        variables: dict[str, Any] | None = None,
        selection: TaskSelection | None = None,
        on: Sequence[str] = (),
        **given: str,
    ) -> tuple[Outcome, ...]:
        self.folder.mkdir(exist_ok=True)
        made = rendered(self.folder, tasks, variables, **given)
        members = [member(self.folder, made, instance_id) for instance_id in on or self.fleet.instance_ids[:1]]
        for fleet_member in members:
            if not self.new_itself and fleet_member.store.find() is None:
                fleet_member.store.save(State())
        return self.runner().run(members, selection)


def dies(child: Any) -> int:
    """Run `child` in a forked process and return its exit status (`waitpid`)."""
    pid = os.fork()
    if pid == 0:
        try:
            child()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(pid, 0)[1]
