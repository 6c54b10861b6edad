"""`invoke run-tasks` on machines that really run the tasks, under kills, faults, reboots and agents out of reach.

The same command is given until it says that all is done. Then each machine's own notes decide: every task ran, in its
place, and none again whose mark was set.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults import machines
from tests.faults.command import Command, laptop, meanwhile, warm_up
from tests.faults.lanes import play
from tests.faults.tally import THOROUGH, Found, chance_of, numbers
from tests.faults.trouble import Trouble
from tests.functional.light import RAN, REGION, Fleet, light_fleet
from tests.unit.setup_support import write_task_file
from torchneuron.setup.state import StateStore

RUNS = 200 if THOROUGH else 4
LANES = 4 if THOROUGH else 2
MACHINES = 2
HARMS = ("ran twice", "lost", "in the wrong place", "not finished by the state", "left locked", "left under way")
OPERATIONS = (
    *("ssm:SendCommand", "ssm:CreateDocument", "ssm:DescribeDocument", "ssm:GetDocument", "ssm:ListDocuments"),
    *("ssm:DeleteDocument", "ssm:ListCommands", "ssm:ListCommandInvocations", "ssm:GetCommandInvocation"),
    *("ssm:DescribeInstanceInformation", "ec2:DescribeInstances", "sts:GetCallerIdentity"),
)
# So often it is killed or disturbed at most; what comes after is left alone, and has to get to the end.
DISTURBED = 6
MOST_COMMANDS = 16
# An agent that stays away is noticed after minutes; here it is back within seconds.
MOST_SECONDS = 240


@dataclass
class Run:
    """One setup of tasks of its own, given again until it is done."""

    fleet: Fleet
    number: int
    folder: Path
    chance: random.Random
    found: Found = field(default_factory=Found)
    reboots: dict[str, int] = field(default_factory=dict)

    def play(self) -> Found:
        on = self.chance.choice((self.fleet.instance_ids, self.fleet.instance_ids, self.fleet.instance_ids[:1]))
        tasks = [
            machines.noting(f"r{self.number}-{part}", round(self.chance.uniform(0, 0.7), 2))
            for part in "abcdef"[: self.chance.randrange(3, 7)]
        ]
        words = ["run-tasks", "--file", str(write_task_file(self.folder, tasks)), "-r", REGION]
        words += ["--mode", self.chance.choice(("document", "step", "auto"))]
        words += ["--tag", "Team=ml"] if len(on) > 1 else ["-i", on[0]]
        self.found.did["sent as " + words[6]] += 1
        trouble = Trouble(self.fleet.sandbox, self.chance, OPERATIONS, 0.3)
        try:
            self._until_done(words, on, trouble)
        finally:
            self.found.did += trouble.end()
        self._check([one["id"] for one in tasks], on)
        return self.found

    def _until_done(self, words, on, trouble):
        for given in range(MOST_COMMANDS):
            if given == DISTURBED + 4:
                self.found.did += trouble.end()
            if self._give(words, on, disturbed=given < DISTURBED) == 0:
                self.found.again = given
                return
        raise AssertionError(f"{MOST_COMMANDS} commands did not finish it:\n{self.told[-3000:]}")

    def _give(self, words, on, *, disturbed):
        fresh = self.chance.random() < 0.1
        environment = {**self.fleet.sandbox.environment, "TORCHNEURON_CONFIG": str(self.folder / "config.json")}
        command = Command(words, environment, self.folder, fresh=fresh, pace=0.2)
        away: set[str] = set()
        try:
            meanwhile(command, self._events(command, on, away) if disturbed else [], most_seconds=MOST_SECONDS)
        finally:
            for one in list(away):
                self._to(one, "restore-agent", away)
        self.told = command.told
        assert "Traceback" not in self.told, self.told[-3000:]
        self.found.seen["killed" if command.status < 0 else f"status {command.status}"] += 1
        assert command.status in (0, 1, 2) or command.killed, (command.status, self.told[-3000:])
        return command.status

    def _events(self, command, on, away):
        events, chance = [], self.chance
        if chance.random() < 0.5:
            events.append((chance.uniform(0.05, 4), lambda: self._kill(command)))
        if chance.random() < 0.2:
            rebooted = chance.choice(on)
            events.append((chance.uniform(0.3, 4), lambda: self._to(rebooted, "reboot", away)))
        if chance.random() < 0.25:
            lost, at = chance.choice(on), chance.uniform(0.1, 3)
            events.append((at, lambda: self._to(lost, "lose-agent", away)))
            events.append((at + chance.uniform(0.3, 3), lambda: self._to(lost, "restore-agent", away)))
        return events

    def _kill(self, command):
        command.kill()
        self.found.did["kill -9"] += 1

    def _to(self, instance_id, what, away):
        self.fleet.sandbox.control("host", {"instance_id": instance_id, "do": what})
        if what == "reboot":
            self.reboots[instance_id] = self.reboots.get(instance_id, 0) + 1
        away.symmetric_difference_update({instance_id} if what != "reboot" else ())
        if what != "restore-agent":
            self.found.did[what] += 1

    def _check(self, expected, on):
        harms = self.found.harms
        for one in on:
            locked = "flock --nonblock /var/lib/torchneuron/lock true && echo free || echo locked"
            notes, _, lock = self.fleet.shell(f"cat {RAN}; rm -f {RAN}; echo ==; {locked}", one).partition("==")
            story = machines.read(notes, expected, self.reboots.get(one, 0))
            harms.update(
                {"ran twice": story.twice, "lost": story.lost, "in the wrong place": story.misplaced}
                | {"left locked": int(lock.split() != ["free"])}
            )
            self.found.seen["tasks stopped by a reboot, run again"] += story.again - story.twice
            self.found.seen["tasks run"] += len(expected) - story.lost
            state = StateStore(self.folder / "state" / "tasks", one).load()
            harms["not finished by the state"] += int(state.running is not None or [*state.digests] != expected)
            if not self.found.is_sound:
                self.found.broken += f"{one}, rebooted {self.reboots.get(one, 0)} times, noted:\n{notes}\n"
        pages = self.fleet.client("ssm").get_paginator("list_command_invocations")
        for status in ("Pending", "InProgress"):
            for page in pages.paginate(Filters=[{"key": "Status", "value": status}]):
                harms["left under way"] += len(page["CommandInvocations"])


def one_run(fleet: Fleet, number: int) -> Found:
    with laptop(fleet.sandbox) as folder:
        return Run(fleet, number, folder, chance_of("setup", number)).play()


@pytest.fixture(scope="module")
def fleets():
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(light_fleet(MACHINES)) for _ in range(LANES)]


def test_setup_under_kills_and_faults(fleets, tally):
    warm_up()
    counted = tally("setup", harms=HARMS)
    play(counted, numbers(RUNS), fleets, one_run)
    counted.check()
