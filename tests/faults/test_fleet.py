"""Many rounds of changed tasks on a fleet, with lost agents, reboots, a broken host and low rate limits.

Each machine runs each task once, in order, and the rehearsal leaks no resources.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults import task_records
from tests.faults.command import Command, laptop, run_with_events, warm_up
from tests.faults.processes import usage
from tests.faults.tally import SEED, THOROUGH, RunResult
from tests.functional.light import RAN, REGION, Fleet, light_fleet
from tests.functional.support import eventually
from tests.unit.setup_support import write_task_file

MACHINES = 64 if THOROUGH else 8
ROUNDS = 8 if THOROUGH else 2
VIOLATIONS = ("ran twice", "lost", "out of order", "processes left", "threads left", "files left", "mounts left")
RATES = {
    "SendCommand": {"burst": 2, "per_second": 1},
    "ListCommandInvocations": {"burst": 4, "per_second": 3},
    "DescribeInstanceInformation": {"burst": 4, "per_second": 3},
}
# In this round a host breaks. Its command never ends, so the user stops watching and replaces the machine. 0: never.
BREAKS = 3 if THOROUGH else 0
MAX_COMMANDS = 8
MAX_SECONDS = 200
BATCH_SIZE = 50


@dataclass
class Soak:
    """The fleet and the state of the test. `reboots`: reboots per machine in the current round."""

    fleet: Fleet
    folder: Path
    rng: random.Random
    result: RunResult = field(default_factory=RunResult)
    reboots: Counter[str] = field(default_factory=Counter)
    gone: list[str] = field(default_factory=list)

    def round(self, number: int) -> RunResult:
        """Run the same file with changed tasks, until all machines have finished it."""
        self.result, self.reboots = RunResult(), Counter()
        tasks = [task_records.recording_task(f"{part}-{number}", round(self.rng.uniform(0, 1.5), 2)) for part in "abc"]
        # The ids are the same in every round: changed tasks, and those after them, run again.
        tasks = [{**task, "id": f"task-{task['id'][0]}"} for task in tasks]
        words = ["run-tasks", "--file", str(write_task_file(self.folder, tasks)), "-r", REGION, "--tag", "Team=ml"]
        words += ["--mode", self.rng.choice(("document", "step"))]
        broken = self._living()[number % MACHINES] if number == BREAKS else ""
        for attempt in range(MAX_COMMANDS):
            command = Command(words, self._environment, self.folder, pace=0.3)
            away: set[str] = set()
            run_with_events(command, self._events(command, attempt, broken, away), timeout=MAX_SECONDS)
            for instance_id in away:
                self._control(instance_id, "restore-agent")
            assert "Traceback" not in command.output, command.output[-3000:]
            self.result.outcomes[f"status {command.status}"] += 1
            if broken:
                self._replace(broken)
                broken = ""
            elif command.status == 0:
                break
        else:
            raise AssertionError(f"{MAX_COMMANDS} commands did not finish the round:\n{command.output[-3000:]}")
        self.result.retries = attempt
        self._check([f"{part}-{number}" for part in "abc"])
        return self.result

    @property
    def _environment(self) -> dict[str, str]:
        return {**self.fleet.sandbox.environment, "TORCHNEURON_CONFIG": str(self.folder / "config.json")}

    def _living(self) -> list[str]:
        return [instance_id for instance_id in self.fleet.instance_ids if instance_id not in self.gone]

    def _events(self, command, attempt, broken, away):
        if attempt > 2:
            return []
        rng = self.rng
        events: list[tuple[float, Callable[..., Any]]] = []
        for instance_id in rng.sample(self._living(), max(MACHINES // 16, 1)):
            if instance_id == broken:
                continue
            if rng.random() < 0.6:
                at = rng.uniform(0.5, 10)
                events.append((at, lambda lost=instance_id: self._lose(lost, away)))
                events.append((at + rng.uniform(0.5, 4), lambda lost=instance_id: self._restore(lost, away)))
            else:
                events.append((rng.uniform(0.5, 10), lambda rebooted=instance_id: self._control(rebooted, "reboot")))
        if broken:
            events.append((2.0, lambda: self._control(broken, "break")))
            events.append((25.0, lambda: command.kill(signal.SIGINT)))
        return events

    def _lose(self, instance_id, away):
        self._control(instance_id, "lose-agent")
        away.add(instance_id)

    def _restore(self, instance_id, away):
        self._control(instance_id, "restore-agent")
        away.discard(instance_id)

    def _control(self, instance_id, action):
        self.fleet.sandbox.control("host", {"instance_id": instance_id, "do": action})
        if action != "restore-agent":
            self.result.injected[action] += 1
        self.reboots[instance_id] += action == "reboot"

    def _replace(self, broken: str) -> None:
        """Terminate the broken machine and launch another."""
        ec2 = self.fleet.client("ec2")
        (group,) = ec2.describe_instances(InstanceIds=[broken])["Reservations"]
        (before,) = group["Instances"]
        ec2.terminate_instances(InstanceIds=[broken])
        self.gone.append(broken)
        made = ec2.run_instances(
            ImageId=before["ImageId"],
            InstanceType=before["InstanceType"],
            MinCount=1,
            MaxCount=1,
            IamInstanceProfile={"Arn": before["IamInstanceProfile"]["Arn"]},
            TagSpecifications=[{"ResourceType": "instance", "Tags": before["Tags"]}],
        )
        new = made["Instances"][0]["InstanceId"]
        self.fleet.instance_ids.append(new)
        known = self.fleet.client("ssm").get_paginator("describe_instance_information")
        filters = [{"Key": "InstanceIds", "Values": [new]}]
        eventually(lambda: any(page["InstanceInformationList"] for page in known.paginate(Filters=filters)))

    def _check(self, expected):
        for instance_id, records in self._records().items():
            counts = task_records.count(records, expected, self.reboots[instance_id])
            violations = {"ran twice": counts.repeated, "lost": counts.lost, "out of order": counts.misplaced}
            self.result.violations.update(violations)
            self.result.outcomes["tasks run"] += len(expected) - counts.lost
            if any(violations.values()):
                self.result.failure += (
                    f"{instance_id}, rebooted {self.reboots[instance_id]} times, recorded:\n{records}\n"
                )

    def _records(self) -> dict[str, str]:
        """Read and delete the records of each machine."""
        ssm, found = self.fleet.client("ssm"), {}
        script = {"commands": [f"cat {RAN}; rm -f {RAN}"]}
        living = self._living()
        for at in range(0, len(living), BATCH_SIZE):
            ids = living[at : at + BATCH_SIZE]
            sent = ssm.send_command(InstanceIds=ids, DocumentName="AWS-RunShellScript", Parameters=script)
            for instance_id in ids:
                which = {"InstanceId": instance_id, "CommandId": sent["Command"]["CommandId"]}
                ssm.get_waiter("command_executed").wait(**which, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
                found[instance_id] = ssm.get_command_invocation(**which)["StandardOutputContent"]
        return found


@pytest.fixture
def soak():
    with light_fleet(MACHINES) as fleet, laptop(fleet.sandbox) as folder:
        if THOROUGH:
            fleet.sandbox.control("latency", {"preset": "aws"})
        yield Soak(fleet, folder, random.Random(f"{SEED} fleet"))


def test_every_machine_runs_every_task_once_over_many_rounds(soak, tally):
    warm_up()
    counted = tally("fleet", violations=VIOLATIONS, what=f"{MACHINES} machines")
    pid = int(json.loads((soak.fleet.sandbox.folder / "ready.json").read_text())["pid"])
    first = None
    for number in range(1, ROUNDS + 1):
        soak.fleet.sandbox.control("rates", RATES)
        result = soak.round(number)
        soak.fleet.sandbox.control("rates", dict.fromkeys(RATES))
        last = settled(pid, first)
        first = first or last
        if number == ROUNDS:
            result.violations.update({f"{name} left": count for name, count in last.growth_since(first).items()})
            result.failure += f"after the first round {first}, after the last {last}" if not result.is_sound else ""
            calls = soak.fleet.sandbox.control("calls")
            result.outcomes["requests to AWS"] = sum(count for service in calls.values() for count in service.values())
            result.outcomes["MiB of memory after the first round"] = first.memory
            result.outcomes["MiB of memory after the last round"] = last.memory
            for name in ("processes", "threads", "files", "mounts"):
                result.outcomes[f"{name} of the rehearsal"] = getattr(last, name)
        counted.add(number, result, total=ROUNDS)
    counted.check()


def settled(pid, first):
    """The resource usage once it has fallen to the first one, or after a minute: connections end with a delay."""
    time.sleep(2)
    now, end = usage(pid), time.monotonic() + 60
    while first and any(now.growth_since(first).values()) and time.monotonic() < end:
        time.sleep(0.5)
        now = usage(pid)
    return now
