"""`invoke deploy` with the real Terraform, interrupted at any moment, under faults, and resumed by the same command.

The account must match Terraform's state: one machine on the block, one of every resource that it needs, and no
untracked resources. After destroy, and the commands that destroy prints for orphans, no resource is left.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import Sandbox
from tests.e2e.conftest import REGION, client
from tests.faults.command import Command, laptop
from tests.faults.injection import FaultInjection
from tests.faults.tally import THOROUGH, RunResult, random_for, run_numbers
from tests.faults.workers import do_runs
from tests.sandboxes import open_sandbox

RUNS = 20
# The short form: SIGTERM, as from a CI system that cancels a job, right after a resource was created.
SHORT = [3]
WORKERS = 3 if THOROUGH else 1
VIOLATIONS = (
    *("extra machines", "not in state", "only in state", "second deploy made changes"),
    *("locked without a kill", "left locked", "left after destroy", "removed wrongly"),
)
DEPLOY = ("deploy", "--use-capacity-block", "--skip-setup", "-r", REGION)
OPERATIONS = (
    *("ec2:RunInstances", "ec2:DescribeInstances", "ec2:CreateSecurityGroup", "ec2:DescribeSecurityGroups"),
    *("ec2:CreateLaunchTemplate", "ec2:DescribeLaunchTemplates", "ec2:DescribeCapacityReservations"),
    *("iam:CreateRole", "iam:PutRolePolicy", "iam:CreateInstanceProfile", "iam:AddRoleToInstanceProfile"),
    *("secretsmanager:CreateSecret", "secretsmanager:PutSecretValue", "secretsmanager:DescribeSecret"),
    *("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "sts:GetCallerIdentity", "ssm:GetParameter"),
)
# Calls that create resources: interrupting a deploy around these is most likely to do harm.
MAKES = (
    *(("ec2", "CreateSecurityGroup"), ("ec2", "CreateLaunchTemplate"), ("ec2", "RunInstances")),
    *(("iam", "CreateRole"), ("iam", "CreateInstanceProfile"), ("secretsmanager", "CreateSecret")),
    *(("secretsmanager", "PutSecretValue"), ("s3", "PutObject"), ("s3", "DeleteObject")),
)
# As sent by Ctrl-C, by a closed terminal, by `kill`, and by `timeout` or a CI system that stops a job.
SIGNALS = ("SIGINT to all", "SIGHUP to all", "SIGTERM", "SIGTERM to all", "SIGKILL to all")
# After these Terraform can't save all that it has created: SIGTERM ends its provider in the middle of a call, and on
# SIGINT the provider cancels its calls and loses their responses.
CUTS = ("SIGINT to all", "SIGTERM to all", "SIGKILL to all")
# After these Terraform can't release its lock.
KILLS = ("SIGTERM to all", "SIGKILL to all")
INTERRUPTED = 3 if THOROUGH else 1
MAX_COMMANDS = 9
MAX_SECONDS = 240
KINDS = {
    "aws_instance": "instance",
    "aws_security_group": "security group",
    "aws_launch_template": "launch template",
    "aws_iam_role": "role",
    "aws_iam_instance_profile": "instance profile",
    "aws_secretsmanager_secret": "secret",
}
# Terraform saves its state every 20 seconds and at the end. The next deploy adopts an instance that an interrupted one
# did not save (`torchneuron.deploy.adoption`). The types below it creates again: the orphans are counted, and destroy
# names the commands that delete them (`torchneuron.deploy.orphans`).
FREE = ("security group", "launch template", "role", "instance profile", "secret")


@dataclass
class Run:
    """One deployment, from the first deploy to destroy."""

    sandbox: Sandbox
    folder: Path
    rng: random.Random
    result: RunResult = field(default_factory=RunResult)
    abandoned: set[tuple[str, str]] = field(default_factory=set)
    faulty: bool = False

    def run(self) -> RunResult:
        before = self._account()
        odds = self.rng.choice((0, 0.1, 0.2))
        self.faulty = odds > 0
        faults = FaultInjection(self.sandbox, self.rng, OPERATIONS, odds, times=(1, 1, 2))
        try:
            self._until_deployed(faults)
        finally:
            self.result.injected += faults.end()
        self._check(before)
        if "Nothing to change." not in self._run_undisturbed(*DEPLOY).output:
            self.result.violations["second deploy made changes"] += 1
        self._remove_orphans(self._run_undisturbed("destroy", "--yes", "-r", REGION).output)
        if left := self._account() - before:
            self.result.violations["left after destroy"] += len(left)
            self.result.failure += f"left after destroy: {sorted(left)}\n"
        self.result.violations["removed wrongly"] += len(before - self._account())
        return self.result

    def _until_deployed(self, faults) -> None:
        for attempt in range(MAX_COMMANDS):
            if attempt == INTERRUPTED + 2:
                self.result.injected += faults.end()
            command = self._command(*DEPLOY)
            if attempt < INTERRUPTED and self.rng.random() < (0.95, 0.5, 0.3)[attempt]:
                self._interrupt(command)
            assert self._has_ended(command), f"deploy did not end within {MAX_SECONDS} s:\n{command.output[-3000:]}"
            assert "Traceback" not in command.output, command.output[-3000:]
            self.result.outcomes["ended by a signal" if command.status < 0 else f"status {command.status}"] += 1
            if command.status == 0:
                self.result.retries = attempt
                return
            self._unlock(command.output)
        raise AssertionError(f"{MAX_COMMANDS} commands did not complete the deploy:\n{command.output[-3000:]}")

    def _command(self, *words: str) -> Command:
        return Command(words, self.sandbox.environment, self.folder, fresh=True)

    def _run_undisturbed(self, *words: str) -> Command:
        """Run a command without interruption; it has to succeed."""
        command = self._command(*words)
        assert self._has_ended(command), command.output[-3000:]
        assert command.status == 0, command.output[-3000:]
        return command

    @staticmethod
    def _has_ended(command: Command) -> bool:
        """Wait for the command's session to end; returns whether it did in time."""
        ended = command.wait(MAX_SECONDS)
        end = time.monotonic() + MAX_SECONDS
        while command.running_processes():
            if time.monotonic() > end:
                command.kill_all()
                return False
            time.sleep(0.05)
        return ended

    def _interrupt(self, command: Command) -> None:
        """Send a signal at a random time or soon after a call that creates a resource, unless the command has ended."""
        if self.rng.random() < 0.4:
            wait_for, pause = self._after(self.rng.uniform(0.3, 16)), 0.0
        else:
            service, operation = self.rng.choice(MAKES)
            wait_for, pause = self._after_call(service, operation), self.rng.choice((0, 0.02, 0.3, 1.5, 3))
        while not command.has_ended and not wait_for():
            time.sleep(0.02)
        if command.wait(pause):
            return
        name = self.rng.choice(SIGNALS)
        number = getattr(signal, name.split()[0])
        if name == "SIGKILL to all":
            command.kill_all()
        elif name == "SIGTERM":
            command.kill(number, alone=True)
        else:
            command.kill(number)
        self.result.injected[name] += 1

    @staticmethod
    def _after(seconds: float) -> Callable[[], bool]:
        end = time.monotonic() + seconds
        return lambda: time.monotonic() > end

    def _after_call(self, service: str, operation: str) -> Callable[[], bool]:
        def count() -> int:
            return int(self.sandbox.control("calls").get(service, {}).get(operation, 0))

        before = count()
        return lambda: count() > before

    def _unlock(self, output: str) -> None:
        """Remove the lock of a killed run with the printed command."""
        if shown := re.search(r"^ +(terraform -chdir=\S+ force-unlock -force \S+)$", output, flags=re.MULTILINE):
            self._run_printed(shown[1])
            self.result.outcomes["lock removed"] += 1
            # When a response of S3 is lost, Terraform takes its own lock for another's.
            self.result.violations["locked without a kill"] += not (self._was_sent(KILLS) or self.faulty)

    def _run_printed(self, command: str) -> None:
        """Run a printed command; it has to succeed."""
        environment = dict(self.sandbox.environment)
        subprocess.run(command, shell=True, env=environment, check=True, capture_output=True, timeout=60)

    def _remove_orphans(self, output: str) -> None:
        """Remove the orphans that destroy reports, with the commands that it prints."""
        shown = re.findall(r"^ +(aws \S+ (?:delete|detach|remove)-.+)$", output, flags=re.MULTILINE)
        for command in shown:
            self._run_printed(command)
        self.result.outcomes["commands for orphans run"] += len(shown)

    def _check(self, before: set[tuple[str, str]]) -> None:
        existing, tracked, violations = self._account() - before, self._state(), self.result.violations
        self.abandoned = {(kind, name) for kind, name in existing - tracked if self._was_sent(CUTS) and kind in FREE}
        for kind, _ in self.abandoned:
            self.result.outcomes[f"not in state after a kill: {kind}"] += 1
        violations["not in state"] += len(existing - tracked - self.abandoned)
        violations["only in state"] += len(tracked - existing)
        violations["extra machines"] += max(sum(kind == "instance" for kind, _ in existing) - 1, 0)
        violations["left locked"] += len(self._locks())
        self.result.outcomes["resources deployed"] += len(tracked)
        if not self.result.is_sound:
            self.result.failure += (
                f"not in state: {sorted(existing - tracked)}; only in state: {sorted(tracked - existing)}\n"
            )

    def _was_sent(self, signals: Sequence[str]) -> bool:
        return any(self.result.injected[name] for name in signals)

    def _state(self) -> set[tuple[str, str]]:
        folder = next((self.sandbox.folder / "cdktf.out" / "invoke" / REGION / "stacks").iterdir())
        shown = subprocess.run(
            ["terraform", f"-chdir={folder}", "show", "-json", "-no-color"],
            env=dict(self.sandbox.environment),
            check=True,
            capture_output=True,
            text=True,
        )
        resources = json.loads(shown.stdout)["values"]["root_module"]["resources"]
        return {(KINDS[item["type"]], item["values"]["id"]) for item in resources if item["type"] in KINDS}

    def _account(self) -> set[tuple[str, str]]:
        """All resources in the account of the kinds that a deployment creates."""
        ec2, iam, secrets = (client(self.sandbox, name) for name in ("ec2", "iam", "secretsmanager"))
        instances = [
            instance["InstanceId"]
            for reservation in ec2.describe_instances()["Reservations"]
            for instance in reservation["Instances"]
            if instance["State"]["Name"] not in ("terminated", "shutting-down")
        ]
        ids = {
            "instance": instances,
            "security group": [group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]],
            "launch template": [
                template["LaunchTemplateId"] for template in ec2.describe_launch_templates()["LaunchTemplates"]
            ],
            "role": [role["RoleName"] for role in iam.list_roles()["Roles"]],
            "instance profile": [
                profile["InstanceProfileName"] for profile in iam.list_instance_profiles()["InstanceProfiles"]
            ],
            "secret": [secret["ARN"] for secret in secrets.list_secrets()["SecretList"]],
        }
        return {(kind, name) for kind, names in ids.items() for name in names}

    def _locks(self) -> list[str]:
        s3 = client(self.sandbox, "s3")
        keys = [
            item["Key"]
            for bucket in s3.list_buckets()["Buckets"]
            for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])
        ]
        return [key for key in keys if key.endswith(".tflock")]


def one_run(sandbox: Sandbox, number: int) -> RunResult:
    with laptop(sandbox) as folder:
        return Run(sandbox, folder, random_for("deploys", number)).run()


@pytest.fixture(scope="module")
def sandboxes():
    """Rehearsals with an active, saved block and a state bucket."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(open_sandbox(region=REGION, host_suite="none")) for _ in range(WORKERS)]
        for sandbox in made:
            with contextlib.redirect_stdout(io.StringIO()):
                main_job.prepare(Demo(sandbox, REGION))
        yield made


def test_deploys_interrupted_at_random_resume(sandboxes, tally):
    counted = tally("deploys", violations=VIOLATIONS)
    do_runs(counted, run_numbers(RUNS) if THOROUGH else SHORT, sandboxes, one_run)
    counted.check()
