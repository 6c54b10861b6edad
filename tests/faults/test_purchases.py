"""`invoke cb.purchase` under faults of EC2 and kills: the user approves once per block and repeats the command.

Checked against the account: never more blocks than approvals, and every report of the command is true.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rehearsal.scenarios.sandbox import Sandbox
from tests.faults.command import Command, laptop, run_with_events, warm_up
from tests.faults.injection import FaultInjection
from tests.faults.tally import THOROUGH, RunResult, random_for, run_numbers
from tests.faults.workers import do_runs
from tests.sandboxes import open_sandbox
from torchneuron.capacity_blocks.once import SETTLE_TIME

REGION = "sa-east-1"
RUNS = 200 if THOROUGH else 4
WORKERS = 4 if THOROUGH else 2
VIOLATIONS = ("bought twice", "bought without approval", "lost", "wrongly reported", "left in the journal")
OPERATIONS = (
    *("ec2:DescribeCapacityBlockOfferings", "ec2:DescribeCapacityReservations", "ec2:DescribeSubnets"),
    *("ec2:DescribeCapacityBlocks", "ec2:PurchaseCapacityBlock", "ssm:PutParameter", "ssm:GetParameters"),
)
MAX_COMMANDS = 14
MAX_SECONDS = 120
# Waits that are only our own run faster than real time.
PACE = 0.02


DENIED, UNKNOWN = "not bought", "unknown"


@dataclass(frozen=True)
class Report:
    """What a command reported of the block that starts at `start`: an id, `DENIED` or `UNKNOWN`."""

    start: datetime
    outcome: str
    at: datetime


@dataclass
class Run:
    """A user who buys some blocks, one after the other."""

    sandbox: Sandbox
    folder: Path
    rng: random.Random
    result: RunResult = field(default_factory=RunResult)
    reports: list[Report] = field(default_factory=list)

    def run(self) -> RunResult:
        self.sandbox.control("reset", {})
        unseen, payment = self.rng.choice((0, 0, 2, 100)), self.rng.choice((0, 0, 1, 4))
        market = {"visible_after_seconds": unseen, "payment_seconds": payment}
        self.sandbox.control("market", {**market, "searches": None})
        wanted = self._wanted()
        self.sandbox.control("market", {"searches": self.rng.choice((None, {"burst": 2, "per_second": 0.5}))})
        faults = FaultInjection(self.sandbox, self.rng, [*OPERATIONS, "ec2:PurchaseCapacityBlock"], 0.4)
        try:
            bought = [self._buy(offering, faults) for offering in wanted]
        finally:
            self.result.injected += faults.end()
        # Once everything shows, the same commands change nothing and clear the journal.
        self.sandbox.control("clock", {"advance_seconds": 600})
        self._check(bought)
        for offering, block_id in zip(wanted, bought, strict=True):
            again = Command(self._words(offering), self._environment, self.folder, pace=PACE)
            run_with_events(again, [], timeout=MAX_SECONDS)
            assert again.status == 0, again.output
            self.result.violations["wrongly reported"] += f"bought already: {block_id}, " not in again.output
        self.result.violations["left in the journal"] += len([*(self.folder / "state").glob("purchase-*.json")])
        return self.result

    @property
    def _environment(self) -> dict[str, str]:
        return {**self.sandbox.environment, "TORCHNEURON_CONFIG": str(self.folder / "config.json")}

    @staticmethod
    def _words(offering) -> list[str]:
        chosen = [
            "--offering-id",
            offering["CapacityBlockOfferingId"],
            "--start-time",
            offering["StartDate"].isoformat(),
        ]
        return ["cb.purchase", *chosen, "-r", REGION, "--yes"]

    def _wanted(self) -> list[dict[str, Any]]:
        """Offerings with different windows: for the command, the same window is the same block."""
        asked = {"InstanceType": "trn2.3xlarge", "InstanceCount": 1, "CapacityDurationHours": 24}
        today = self._clock()
        by_start = {}
        for days in (5, 12, 19):
            more = {"StartDateRange": today + timedelta(days=days), "EndDateRange": today + timedelta(days=days + 6)}
            for offering in self._ec2().describe_capacity_block_offerings(**asked, **more)["CapacityBlockOfferings"]:
                by_start[offering["StartDate"]] = offering
        return self.rng.sample([by_start[start] for start in sorted(by_start)], self.rng.choice((1, 1, 2)))

    def _buy(self, offering, faults) -> str:
        """Run the command until it reports a reservation; its id."""
        words = self._words(offering) + self.rng.choice(([], ["--no-save"]))
        self.result.outcomes["approvals"] += 1
        for attempt in range(MAX_COMMANDS):
            if attempt == MAX_COMMANDS - 4:
                self.result.injected += faults.end()
            sent = self._sent()
            command = self._run_command(words)
            if named := re.search(r"(cr-\w+) is (?:yours|bought)", command.output):
                self._note(offering, named[1])
            elif "Nothing was bought" in command.output and self._sent() > sent:
                self._note(offering, DENIED)
            if command.status == 0:
                assert named, command.output
                self.result.retries += attempt
                return named[1]
            if command.status == 3:
                self._note(offering, UNKNOWN)
                self._look(command, patient=attempt > MAX_COMMANDS // 2 or self.rng.random() < 0.5)
        raise AssertionError(f"{MAX_COMMANDS} commands did not buy it:\n{command.output[-3000:]}")

    def _note(self, offering, outcome: str) -> None:
        self.reports.append(Report(offering["StartDate"], outcome, self._clock()))
        # AWS dates purchases to the second: a later purchase must not appear to have been made by now.
        self.sandbox.control("clock", {"advance_seconds": 1})

    def _look(self, command, *, patient: bool) -> None:
        """The command names the lookup command; the user repeats the purchase at once, or once it is settled."""
        assert re.search(r"^ +aws ec2 describe-capacity-reservations ", command.output, flags=re.MULTILINE), (
            command.output
        )
        if not patient:
            return
        self.result.injected["twenty minutes waited"] += 1
        seconds = SETTLE_TIME.total_seconds() + 1
        for entry in (self.folder / "state").glob("purchase-*.json"):
            read = json.loads(entry.read_text())
            read["at"] = (
                datetime.fromisoformat(read["at"].replace("Z", "+00:00")) - timedelta(seconds=seconds)
            ).isoformat()
            entry.write_text(json.dumps(read))
        self.sandbox.control("clock", {"advance_seconds": seconds})

    def _run_command(self, words) -> Command:
        fresh = self.rng.random() < 0.08
        command = Command(words, self._environment, self.folder, fresh=fresh, pace=PACE)
        events = []
        if self.rng.random() < 0.4:
            events.append((self.rng.uniform(0.05, 3 if fresh else 1.2), lambda: self._kill(command)))
        run_with_events(command, events, timeout=MAX_SECONDS)
        assert "Traceback" not in command.output, command.output[-3000:]
        self.result.outcomes["killed" if command.status < 0 else f"status {command.status}"] += 1
        assert command.status in (0, 1, 3) or command.killed, (command.status, command.output[-3000:])
        return command

    def _kill(self, command):
        command.kill()
        self.result.injected["kill -9"] += 1

    def _check(self, bought: list[str]) -> None:
        """Compare the reports with the account once everything shows."""
        found = self._ec2().describe_capacity_reservations()["CapacityReservations"]
        owned = {block["CapacityReservationId"]: block for block in found}
        violations = self.result.violations
        violations["bought twice"] += len(owned) - len({block["StartDate"] for block in owned.values()})
        violations["bought without approval"] += len(owned.keys() - set(bought))
        violations["lost"] += len(set(bought) - owned.keys())
        for report in self.reports:
            made = [block for block in found if block["StartDate"] == report.start and block["CreateDate"] <= report.at]
            ids = [block["CapacityReservationId"] for block in made]
            if report.outcome == UNKNOWN:
                self.result.outcomes[f"reported unknown: {'' if made else 'not '}bought"] += 1
            elif report.outcome == DENIED:
                self.result.outcomes["reported not bought"] += 1
                violations["wrongly reported"] += len(made)
            else:
                violations["wrongly reported"] += ids != [report.outcome]
        self.result.outcomes["blocks bought"] += len(owned)
        if not self.result.is_sound:
            self.result.failure += f"reported {self.reports}, but there is {sorted(owned)}\n"

    def _sent(self) -> int:
        return int(self.sandbox.control("calls").get("ec2", {}).get("PurchaseCapacityBlock", 0))

    def _clock(self) -> datetime:
        return datetime.fromisoformat(self.sandbox.control("status")["clock"])

    def _ec2(self):
        return self.sandbox.client("ec2", REGION, retries=False)


def one_run(sandbox: Sandbox, number: int) -> RunResult:
    with laptop(sandbox) as folder:
        return Run(sandbox, folder, random_for("purchases", number)).run()


@pytest.fixture(scope="module")
def sandboxes():
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(open_sandbox(region=REGION, host_suite="none")) for _ in range(WORKERS)]


def test_purchases_under_faults_and_kills(sandboxes, tally):
    warm_up()
    counted = tally("purchases", violations=VIOLATIONS)
    do_runs(counted, run_numbers(RUNS), sandboxes, one_run)
    counted.check()
