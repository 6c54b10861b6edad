"""The setup runner's own time: 17 tasks on one machine and on 64, against a rehearsal that is as slow as AWS.

The tasks only sleep, and the machines only let time pass (`tests.hosts.timed`): what is over that is the runner's,
its start, the calls and the waiting for AWS included. The usual way is what the AWS CLI's documentation shows:
send-command and `wait command-executed` for each task.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import rehearsed
from benchmarks.pairs import Pair, Work
from benchmarks.programs import program
from benchmarks.rehearsed import REGION, Rehearsal, script

TASKS = 17
STEP_SECONDS = 0.5
FLEET = 64
OVERHEAD_SECONDS = 5.0
FLEET_AT_MOST = 1.3
_LATENCY = "The rehearsal takes 0.1 s a call, 1.5 s to deliver a command, 1 s until a status shows."
_AMI = "/aws/service/neuron/dlami/multi-framework/ubuntu-24.04/latest/image_id"
_MANAGED = "InstanceInformationList[].InstanceId"
_TRUST = '{"Version": "2012-10-17", "Statement": []}'
_POLICY = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"


def pairs(folder: Path, environment: Mapping[str, str], endings: ExitStack) -> list[Pair]:
    """Overhead, the usual way, and a fleet: one round each, for each takes a while."""
    rehearsal = _rehearse(folder, environment, endings)
    ids = _launch(rehearsal, FLEET)
    file = _task_file(folder)
    one = _ours(rehearsal, file, ["-i", ids[0]])
    own = TASKS * STEP_SECONDS
    counted: list[str] = []
    return [
        Pair(
            what=f"setup of {TASKS} tasks, one machine",
            against=f"the tasks' own {own:g} s, and {OVERHEAD_SECONDS:g} s more",
            ours=one,
            usual=lambda: time.sleep(own + OVERHEAD_SECONDS),
            at_most=1.0,
            slow=True,
        ),
        Pair(
            what=f"setup of {TASKS} tasks, by document",
            against=f"aws ssm send-command and wait, {TASKS} times",
            ours=one,
            usual=lambda: _one_by_one(rehearsal, file, ids[0]),
            at_most=0.5,
            slow=True,
        ),
        Pair(
            what=f"setup of {TASKS} tasks, {FLEET} machines",
            against="one machine",
            ours=_counting(rehearsal, _ours(rehearsal, file, ["--tag", "Team=benchmark"]), counted),
            usual=one,
            at_most=FLEET_AT_MOST,
            slow=True,
            remark=lambda: f"{counted[-1]}. {_LATENCY}" if counted else "",
        ),
    ]


def _rehearse(folder: Path, environment: Mapping[str, str], endings: ExitStack) -> Rehearsal:
    options = ["--host-suite", "tests.hosts.timed:create", "--latency", "aws"]
    return rehearsed.start(folder, environment, endings, options)


def _launch(rehearsal: Rehearsal, count: int) -> list[str]:
    """Machines that Systems Manager manages; their ids."""
    rehearsal.aws("iam", "create-role", "--role-name", "managed", "--assume-role-policy-document", _TRUST)
    rehearsal.aws("iam", "attach-role-policy", "--role-name", "managed", "--policy-arn", _POLICY)
    rehearsal.aws("iam", "create-instance-profile", "--instance-profile-name", "managed")
    profile = ["--instance-profile-name", "managed", "--role-name", "managed"]
    rehearsal.aws("iam", "add-role-to-instance-profile", *profile)
    image = rehearsal.aws("ssm", "get-parameter", "--name", _AMI, "--query", "Parameter.Value")
    tags = "ResourceType=instance,Tags=[{Key=Team,Value=benchmark}]"
    words = ["--image-id", image, "--instance-type", "inf2.xlarge", "--count", str(count), "--tag-specifications", tags]
    words += ["--iam-instance-profile", "Name=managed", "--query", "Instances[].InstanceId"]
    ids = rehearsal.aws("ec2", "run-instances", *words).split()
    while len(rehearsal.aws("ssm", "describe-instance-information", "--query", _MANAGED).split()) < count:
        time.sleep(0.5)
    return ids


def _task_file(folder: Path) -> Path:
    tasks = [
        {"id": f"{number:02}-wait", "name": "Wait", "commands": [f"sleep {STEP_SECONDS}"]}
        for number in range(1, TASKS + 1)
    ]
    path = folder / "tasks.json"
    path.write_text(json.dumps({"tasks": tasks}))
    return path


def _ours(rehearsal: Rehearsal, file: Path, machines: Sequence[str]) -> Work:
    words = ["run-tasks", "--file", str(file), *machines, "-r", REGION, "--clean-state"]
    return program([script("invoke"), *words], rehearsal.variables)


def _counting(rehearsal: Rehearsal, work: Work, counted: list[str]) -> Work:
    """The work, with what it asked SSM for said after it."""

    def run() -> None:
        before, begun = rehearsal.calls("ssm"), time.monotonic()
        work()
        seconds, after = time.monotonic() - begun, rehearsal.calls("ssm")
        made = {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
        listed = ", ".join(f"{count} {name}" for name, count in sorted(made.items()))
        counted.append(f"{sum(made.values())} calls to SSM, {sum(made.values()) / seconds:.1f} a second: {listed}")

    return run


def _one_by_one(rehearsal: Rehearsal, file: Path, instance_id: str) -> None:
    for task in json.loads(file.read_text())["tasks"]:
        parameters = json.dumps({"commands": task["commands"]})
        words = ["--instance-ids", instance_id, "--document-name", "AWS-RunShellScript", "--parameters", parameters]
        command_id = rehearsal.aws("ssm", "send-command", *words, "--query", "Command.CommandId")
        rehearsal.aws("ssm", "wait", "command-executed", "--command-id", command_id, "--instance-id", instance_id)
