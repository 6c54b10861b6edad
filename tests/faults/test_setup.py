"""`invoke run-tasks` on machines that run the tasks, under kills, faults, reboots and lost agents.

The command is repeated until it succeeds. Then the records on each machine must show that every task ran, in order, and
that none ran again after it was marked as done.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults import task_records
from tests.faults.command import Command, laptop, run_with_events, warm_up
from tests.faults.injection import FaultInjection
from tests.faults.tally import THOROUGH, RunResult, random_for, run_numbers
from tests.faults.workers import do_runs
from tests.functional.light import RAN, REGION, Fleet, light_fleet
from tests.unit.setup_support import write_task_file
from torchneuron.setup.state import StateStore

RUNS = 200 if THOROUGH else 4
WORKERS = 4 if THOROUGH else 2
MACHINES = 2
VIOLATIONS = ("ran twice", "lost", "out of order", "not finished by the state", "left locked", "left in progress")
OPERATIONS = (
    *("ssm:SendCommand", "ssm:CreateDocument", "ssm:DescribeDocument", "ssm:GetDocument", "ssm:ListDocuments"),
    *("ssm:DeleteDocument", "ssm:ListCommands", "ssm:ListCommandInvocations", "ssm:GetCommandInvocation"),
    *("ssm:DescribeInstanceInformation", "ec2:DescribeInstances", "sts:GetCallerIdentity"),
)
# Only the first commands are disturbed; the later ones have to succeed.
MAX_DISTURBED = 6
MAX_COMMANDS = 16
# A lost agent is noticed after minutes; here it returns within seconds.
MAX_SECONDS = 240


@dataclass
class Run:
    """One setup with its own tasks, repeated until it succeeds."""

    fleet: Fleet
    number: int
    folder: Path
    rng: random.Random
    result: RunResult = field(default_factory=RunResult)
    reboots: dict[str, int] = field(default_factory=dict)

    def run(self) -> RunResult:
        on = self.rng.choice((self.fleet.instance_ids, self.fleet.instance_ids, self.fleet.instance_ids[:1]))
        tasks = [
            task_records.recording_task(f"r{self.number}-{part}", round(self.rng.uniform(0, 0.7), 2))
            for part in "abcdef"[: self.rng.randrange(3, 7)]
        ]
        words = ["run-tasks", "--file", str(write_task_file(self.folder, tasks)), "-r", REGION]
        words += ["--mode", self.rng.choice(("document", "step", "auto"))]
        words += ["--tag", "Team=ml"] if len(on) > 1 else ["-i", on[0]]
        self.result.injected["sent as " + words[6]] += 1
        faults = FaultInjection(self.fleet.sandbox, self.rng, OPERATIONS, 0.3)
        try:
            self._run_until_done(words, on, faults)
        finally:
            self.result.injected += faults.end()
        self._check([task["id"] for task in tasks], on)
        return self.result

    def _run_until_done(self, words, on, faults):
        for attempt in range(MAX_COMMANDS):
            if attempt == MAX_DISTURBED + 4:
                self.result.injected += faults.end()
            if self._run_command(words, on, disturbed=attempt < MAX_DISTURBED) == 0:
                self.result.retries = attempt
                return
        raise AssertionError(f"{MAX_COMMANDS} commands did not finish the setup:\n{self.output[-3000:]}")

    def _run_command(self, words, on, *, disturbed):
        fresh = self.rng.random() < 0.1
        environment = {**self.fleet.sandbox.environment, "TORCHNEURON_CONFIG": str(self.folder / "config.json")}
        command = Command(words, environment, self.folder, fresh=fresh, pace=0.2)
        away: set[str] = set()
        try:
            run_with_events(command, self._events(command, on, away) if disturbed else [], timeout=MAX_SECONDS)
        finally:
            for instance_id in list(away):
                self._control(instance_id, "restore-agent", away)
        self.output = command.output
        assert "Traceback" not in self.output, self.output[-3000:]
        self.result.outcomes["killed" if command.status < 0 else f"status {command.status}"] += 1
        assert command.status in (0, 1, 2) or command.killed, (command.status, self.output[-3000:])
        return command.status

    def _events(self, command, on, away):
        events, rng = [], self.rng
        if rng.random() < 0.5:
            events.append((rng.uniform(0.05, 4), lambda: self._kill(command)))
        if rng.random() < 0.2:
            rebooted = rng.choice(on)
            events.append((rng.uniform(0.3, 4), lambda: self._control(rebooted, "reboot", away)))
        if rng.random() < 0.25:
            lost, at = rng.choice(on), rng.uniform(0.1, 3)
            events.append((at, lambda: self._control(lost, "lose-agent", away)))
            events.append((at + rng.uniform(0.3, 3), lambda: self._control(lost, "restore-agent", away)))
        return events

    def _kill(self, command):
        command.kill()
        self.result.injected["kill -9"] += 1

    def _control(self, instance_id, action, away):
        self.fleet.sandbox.control("host", {"instance_id": instance_id, "do": action})
        if action == "reboot":
            self.reboots[instance_id] = self.reboots.get(instance_id, 0) + 1
        away.symmetric_difference_update({instance_id} if action != "reboot" else ())
        if action != "restore-agent":
            self.result.injected[action] += 1

    def _check(self, expected, on):
        violations = self.result.violations
        for instance_id in on:
            locked = "flock --nonblock /var/lib/torchneuron/lock true && echo free || echo locked"
            records, _, lock = self.fleet.shell(f"cat {RAN}; rm -f {RAN}; echo ==; {locked}", instance_id).partition(
                "=="
            )
            counts = task_records.count(records, expected, self.reboots.get(instance_id, 0))
            violations.update(
                {"ran twice": counts.repeated, "lost": counts.lost, "out of order": counts.misplaced}
                | {"left locked": int(lock.split() != ["free"])}
            )
            self.result.outcomes["tasks stopped by a reboot, run again"] += counts.restarted - counts.repeated
            self.result.outcomes["tasks run"] += len(expected) - counts.lost
            state = StateStore(self.folder / "state" / "tasks", instance_id).load()
            violations["not finished by the state"] += int(state.running is not None or [*state.digests] != expected)
            if not self.result.is_sound:
                self.result.failure += (
                    f"{instance_id}, rebooted {self.reboots.get(instance_id, 0)} times, recorded:\n{records}\n"
                )
        pages = self.fleet.client("ssm").get_paginator("list_command_invocations")
        for status in ("Pending", "InProgress"):
            for page in pages.paginate(Filters=[{"key": "Status", "value": status}]):
                violations["left in progress"] += len(page["CommandInvocations"])


def one_run(fleet: Fleet, number: int) -> RunResult:
    with laptop(fleet.sandbox) as folder:
        return Run(fleet, number, folder, random_for("setup", number)).run()


@pytest.fixture(scope="module")
def fleets():
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(light_fleet(MACHINES)) for _ in range(WORKERS)]


def test_setup_under_kills_and_faults(fleets, tally):
    warm_up()
    counted = tally("setup", violations=VIOLATIONS)
    do_runs(counted, run_numbers(RUNS), fleets, one_run)
    counted.check()
