"""A fleet of machines over many rounds of changed tasks, with agents out of reach, reboots, a host that breaks and an
AWS that takes few requests. Each machine runs each task once, in order, and the rehearsal itself leaks nothing.
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

from tests.faults import machines
from tests.faults.command import Command, laptop, meanwhile, warm_up
from tests.faults.processes import held
from tests.faults.tally import SEED, THOROUGH, Found
from tests.functional.light import RAN, REGION, Fleet, light_fleet
from tests.functional.support import eventually
from tests.unit.setup_support import write_task_file

MACHINES = 64 if THOROUGH else 8
ROUNDS = 8 if THOROUGH else 2
HARMS = ("ran twice", "lost", "in the wrong place", "processes left", "threads left", "files left", "mounts left")
RATES = {
    "SendCommand": {"burst": 2, "per_second": 1},
    "ListCommandInvocations": {"burst": 4, "per_second": 3},
    "DescribeInstanceInformation": {"burst": 4, "per_second": 3},
}
# In this round a host breaks. Its command never ends: the person ends the watching, and the machine. (In short: none.)
BREAKS = 3 if THOROUGH else 0
MOST_COMMANDS = 8
MOST_SECONDS = 200
TOGETHER = 50


@dataclass
class Soak:
    """The fleet, and what was done to it. `reboots`: of a machine, in the round under way."""

    fleet: Fleet
    folder: Path
    chance: random.Random
    found: Found = field(default_factory=Found)
    reboots: Counter[str] = field(default_factory=Counter)
    gone: list[str] = field(default_factory=list)

    def round(self, number: int) -> Found:
        """One round: the same file with changed tasks, given until all machines have finished it."""
        self.found, self.reboots = Found(), Counter()
        tasks = [machines.noting(f"{part}-{number}", round(self.chance.uniform(0, 1.5), 2)) for part in "abc"]
        # The same ids in every round: what is changed, and all after it, runs again.
        tasks = [{**one, "id": f"task-{one['id'][0]}"} for one in tasks]
        words = ["run-tasks", "--file", str(write_task_file(self.folder, tasks)), "-r", REGION, "--tag", "Team=ml"]
        words += ["--mode", self.chance.choice(("document", "step"))]
        broken = self._living()[number % MACHINES] if number == BREAKS else ""
        for given in range(MOST_COMMANDS):
            command = Command(words, self._environment, self.folder, pace=0.3)
            away: set[str] = set()
            meanwhile(command, self._events(command, given, broken, away), most_seconds=MOST_SECONDS)
            for one in away:
                self._to(one, "restore-agent")
            assert "Traceback" not in command.told, command.told[-3000:]
            self.found.seen[f"status {command.status}"] += 1
            if broken:
                self._replace(broken)
                broken = ""
            elif command.status == 0:
                break
        else:
            raise AssertionError(f"{MOST_COMMANDS} commands did not finish it:\n{command.told[-3000:]}")
        self.found.again = given
        self._check([f"{part}-{number}" for part in "abc"])
        return self.found

    @property
    def _environment(self) -> dict[str, str]:
        return {**self.fleet.sandbox.environment, "TORCHNEURON_CONFIG": str(self.folder / "config.json")}

    def _living(self) -> list[str]:
        return [one for one in self.fleet.instance_ids if one not in self.gone]

    def _events(self, command, given, broken, away):
        if given > 2:
            return []
        chance = self.chance
        events: list[tuple[float, Callable[..., Any]]] = []
        for one in chance.sample(self._living(), max(MACHINES // 16, 1)):
            if one == broken:
                continue
            if chance.random() < 0.6:
                at = chance.uniform(0.5, 10)
                events.append((at, lambda one=one: self._lose(one, away)))
                events.append((at + chance.uniform(0.5, 4), lambda one=one: self._restore(one, away)))
            else:
                events.append((chance.uniform(0.5, 10), lambda one=one: self._to(one, "reboot")))
        if broken:
            events.append((2.0, lambda: self._to(broken, "break")))
            events.append((25.0, lambda: command.kill(signal.SIGINT)))
        return events

    def _lose(self, one, away):
        self._to(one, "lose-agent")
        away.add(one)

    def _restore(self, one, away):
        self._to(one, "restore-agent")
        away.discard(one)

    def _to(self, one, what):
        self.fleet.sandbox.control("host", {"instance_id": one, "do": what})
        if what != "restore-agent":
            self.found.did[what] += 1
        self.reboots[one] += what == "reboot"

    def _replace(self, broken: str) -> None:
        """End the broken machine; another takes its place, as a person would have it."""
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
        for one, notes in self._notes().items():
            story = machines.read(notes, expected, self.reboots[one])
            harms = {"ran twice": story.twice, "lost": story.lost, "in the wrong place": story.misplaced}
            self.found.harms.update(harms)
            self.found.seen["tasks run"] += len(expected) - story.lost
            if any(harms.values()):
                self.found.broken += f"{one}, rebooted {self.reboots[one]} times, noted:\n{notes}\n"

    def _notes(self) -> dict[str, str]:
        """What each machine noted in this round; it begins anew then."""
        ssm, found = self.fleet.client("ssm"), {}
        script = {"commands": [f"cat {RAN}; rm -f {RAN}"]}
        living = self._living()
        for at in range(0, len(living), TOGETHER):
            ids = living[at : at + TOGETHER]
            sent = ssm.send_command(InstanceIds=ids, DocumentName="AWS-RunShellScript", Parameters=script)
            for one in ids:
                which = {"InstanceId": one, "CommandId": sent["Command"]["CommandId"]}
                ssm.get_waiter("command_executed").wait(**which, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
                found[one] = ssm.get_command_invocation(**which)["StandardOutputContent"]
        return found


@pytest.fixture
def soak():
    with light_fleet(MACHINES) as fleet, laptop(fleet.sandbox) as folder:
        if THOROUGH:
            fleet.sandbox.control("latency", {"preset": "aws"})
        yield Soak(fleet, folder, random.Random(f"{SEED} fleet"))


def test_a_fleet_over_many_rounds(soak, tally):
    warm_up()
    counted = tally("fleet", harms=HARMS, what=f"{MACHINES} machines")
    pid = int(json.loads((soak.fleet.sandbox.folder / "ready.json").read_text())["pid"])
    first = None
    for number in range(1, ROUNDS + 1):
        soak.fleet.sandbox.control("rates", RATES)
        found = soak.round(number)
        soak.fleet.sandbox.control("rates", dict.fromkeys(RATES))
        last = settled(pid, first)
        first = first or last
        if number == ROUNDS:
            found.harms.update({f"{name} left": count for name, count in last.beyond(first).items()})
            found.broken += f"after the first round {first}, after the last {last}" if not found.is_sound else ""
            calls = soak.fleet.sandbox.control("calls")
            found.seen["requests to AWS"] = sum(count for service in calls.values() for count in service.values())
            found.seen["MiB of memory after the first round"] = first.memory
            found.seen["MiB of memory after the last round"] = last.memory
            for name in ("processes", "threads", "files", "mounts"):
                found.seen[f"{name} of the rehearsal"] = getattr(last, name)
        counted.take(number, found, of=ROUNDS)
    counted.check()


def settled(pid, first):
    """What it holds once it holds no more than at first, or after a minute: connections take a while to end."""
    time.sleep(2)
    now, end = held(pid), time.monotonic() + 60
    while first and any(now.beyond(first).values()) and time.monotonic() < end:
        time.sleep(0.5)
        now = held(pid)
    return now
