"""`invoke deploy` with the real Terraform, interrupted at any moment, under faults, and taken up by the same command.

What the account has decides, against what Terraform's state says: one machine on the block and one of everything it
needs, nothing that no state knows, and nothing at all once it is destroyed and what destroy names besides is removed by
the commands that it shows.
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
from tests.faults.lanes import play
from tests.faults.tally import THOROUGH, Found, chance_of, numbers
from tests.faults.trouble import Trouble
from tests.sandboxes import open_sandbox

RUNS = 20
# In short: SIGTERM, as from a CI system that cancels a job, at once after something was made.
SHORT = [3]
LANES = 3 if THOROUGH else 1
HARMS = (
    *("machines too many", "in no state", "in the state only", "second deploy changed something"),
    *("locked without a kill", "left locked", "left after destroy", "removed without cause"),
)
DEPLOY = ("deploy", "--use-capacity-block", "--skip-setup", "-r", REGION)
OPERATIONS = (
    *("ec2:RunInstances", "ec2:DescribeInstances", "ec2:CreateSecurityGroup", "ec2:DescribeSecurityGroups"),
    *("ec2:CreateLaunchTemplate", "ec2:DescribeLaunchTemplates", "ec2:DescribeCapacityReservations"),
    *("iam:CreateRole", "iam:PutRolePolicy", "iam:CreateInstanceProfile", "iam:AddRoleToInstanceProfile"),
    *("secretsmanager:CreateSecret", "secretsmanager:PutSecretValue", "secretsmanager:DescribeSecret"),
    *("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "sts:GetCallerIdentity", "ssm:GetParameter"),
)
# What makes something: a deploy is most easily hurt around these.
MAKES = (
    *(("ec2", "CreateSecurityGroup"), ("ec2", "CreateLaunchTemplate"), ("ec2", "RunInstances")),
    *(("iam", "CreateRole"), ("iam", "CreateInstanceProfile"), ("secretsmanager", "CreateSecret")),
    *(("secretsmanager", "PutSecretValue"), ("s3", "PutObject"), ("s3", "DeleteObject")),
)
# As from a terminal: Ctrl-C, or closed; as from `kill`; as from `timeout`, or a system that stops all of a job.
SIGNALS = ("SIGINT to all", "SIGHUP to all", "SIGTERM", "SIGTERM to all", "SIGKILL to all")
# After these Terraform can't write down all that it has made: SIGTERM ends its provider in the middle of a call, and at
# SIGINT it has the provider give up the calls under way, whose answers are lost with that.
CUTS = ("SIGINT to all", "SIGTERM to all", "SIGKILL to all")
# After these it can't give its lock back.
KILLS = ("SIGTERM to all", "SIGKILL to all")
INTERRUPTED = 3 if THOROUGH else 1
MOST_COMMANDS = 9
MOST_SECONDS = 240
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
    """One deployment from nothing to nothing."""

    sandbox: Sandbox
    folder: Path
    chance: random.Random
    found: Found = field(default_factory=Found)
    abandoned: set[tuple[str, str]] = field(default_factory=set)
    faulty: bool = False

    def play(self) -> Found:
        before = self._account()
        odds = self.chance.choice((0, 0.1, 0.2))
        self.faulty = odds > 0
        trouble = Trouble(self.sandbox, self.chance, OPERATIONS, odds, times=(1, 1, 2))
        try:
            self._until_deployed(trouble)
        finally:
            self.found.did += trouble.end()
        self._check(before)
        if "Nothing to change." not in self._calmly(*DEPLOY).told:
            self.found.harms["second deploy changed something"] += 1
        self._remove_remains(self._calmly("destroy", "--yes", "-r", REGION).told)
        if left := self._account() - before:
            self.found.harms["left after destroy"] += len(left)
            self.found.broken += f"left after destroy: {sorted(left)}\n"
        self.found.harms["removed without cause"] += len(before - self._account())
        return self.found

    def _until_deployed(self, trouble) -> None:
        for given in range(MOST_COMMANDS):
            if given == INTERRUPTED + 2:
                self.found.did += trouble.end()
            command = self._command(*DEPLOY)
            if given < INTERRUPTED and self.chance.random() < (0.95, 0.5, 0.3)[given]:
                self._interrupt(command)
            assert self._over(command), f"it did not end within {MOST_SECONDS} s:\n{command.told[-3000:]}"
            assert "Traceback" not in command.told, command.told[-3000:]
            self.found.seen["ended by a signal" if command.status < 0 else f"status {command.status}"] += 1
            if command.status == 0:
                self.found.again = given
                return
            self._unlock(command.told)
        raise AssertionError(f"{MOST_COMMANDS} commands did not deploy it:\n{command.told[-3000:]}")

    def _command(self, *words: str) -> Command:
        return Command(words, self.sandbox.environment, self.folder, fresh=True)

    def _calmly(self, *words: str) -> Command:
        """A command that nothing disturbs; it has to work."""
        command = self._command(*words)
        assert self._over(command), command.told[-3000:]
        assert command.status == 0, command.told[-3000:]
        return command

    @staticmethod
    def _over(command: Command) -> bool:
        """Whether it and all it had started ended in time."""
        ended = command.wait(MOST_SECONDS)
        end = time.monotonic() + MOST_SECONDS
        while command.at_work():
            if time.monotonic() > end:
                command.kill_all()
                return False
            time.sleep(0.05)
        return ended

    def _interrupt(self, command: Command) -> None:
        """At any moment, or soon after one of the calls that make something; if it is still at work then."""
        if self.chance.random() < 0.4:
            wait_for, pause = self._time(self.chance.uniform(0.3, 16)), 0.0
        else:
            service, operation = self.chance.choice(MAKES)
            wait_for, pause = self._call(service, operation), self.chance.choice((0, 0.02, 0.3, 1.5, 3))
        while not command.has_ended and not wait_for():
            time.sleep(0.02)
        if command.wait(pause):
            return
        name = self.chance.choice(SIGNALS)
        number = getattr(signal, name.split()[0])
        if name == "SIGKILL to all":
            command.kill_all()
        elif name == "SIGTERM":
            command.kill(number, alone=True)
        else:
            command.kill(number)
        self.found.did[name] += 1

    @staticmethod
    def _time(seconds: float) -> Callable[[], bool]:
        end = time.monotonic() + seconds
        return lambda: time.monotonic() > end

    def _call(self, service: str, operation: str) -> Callable[[], bool]:
        def count() -> int:
            return int(self.sandbox.control("calls").get(service, {}).get(operation, 0))

        before = count()
        return lambda: count() > before

    def _unlock(self, told: str) -> None:
        """Take away the lock that a killed run left, by the command that is shown; a person knows it was killed."""
        if shown := re.search(r"^ +(terraform -chdir=\S+ force-unlock -force \S+)$", told, flags=re.MULTILINE):
            self._give(shown[1])
            self.found.seen["lock taken away"] += 1
            # An answer of S3 that is lost makes Terraform take its own lock for another's.
            self.found.harms["locked without a kill"] += not (self._was(KILLS) or self.faulty)

    def _give(self, shown: str) -> None:
        """Give a command as it was shown; it has to work."""
        environment = dict(self.sandbox.environment)
        subprocess.run(shown, shell=True, env=environment, check=True, capture_output=True, timeout=60)

    def _remove_remains(self, told: str) -> None:
        """Remove what destroy says is left, by the commands that it shows."""
        shown = re.findall(r"^ +(aws \S+ (?:delete|detach|remove)-.+)$", told, flags=re.MULTILINE)
        for command in shown:
            self._give(command)
        self.found.seen["command of destroy's given"] += len(shown)

    def _check(self, before: set[tuple[str, str]]) -> None:
        there, held, harms = self._account() - before, self._state(), self.found.harms
        self.abandoned = {one for one in there - held if self._was(CUTS) and one[0] in FREE}
        for kind, _ in self.abandoned:
            self.found.seen[f"in no state after a cut: {kind}"] += 1
        harms["in no state"] += len(there - held - self.abandoned)
        harms["in the state only"] += len(held - there)
        harms["machines too many"] += max(sum(kind == "instance" for kind, _ in there) - 1, 0)
        harms["left locked"] += len(self._locks())
        self.found.seen["things deployed"] += len(held)
        if not self.found.is_sound:
            self.found.broken += f"in no state: {sorted(there - held)}; in the state only: {sorted(held - there)}\n"

    def _was(self, signals: Sequence[str]) -> bool:
        return any(self.found.did[one] for one in signals)

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
        return {(KINDS[one["type"]], one["values"]["id"]) for one in resources if one["type"] in KINDS}

    def _account(self) -> set[tuple[str, str]]:
        """All the account has of what a deployment is made of."""
        ec2, iam, secrets = (client(self.sandbox, name) for name in ("ec2", "iam", "secretsmanager"))
        instances = [one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
        living = [one["InstanceId"] for one in instances if one["State"]["Name"] not in ("terminated", "shutting-down")]
        ids = {
            "instance": living,
            "security group": [one["GroupId"] for one in ec2.describe_security_groups()["SecurityGroups"]],
            "launch template": [one["LaunchTemplateId"] for one in ec2.describe_launch_templates()["LaunchTemplates"]],
            "role": [one["RoleName"] for one in iam.list_roles()["Roles"]],
            "instance profile": [
                one["InstanceProfileName"] for one in iam.list_instance_profiles()["InstanceProfiles"]
            ],
            "secret": [one["ARN"] for one in secrets.list_secrets()["SecretList"]],
        }
        return {(kind, one) for kind, some in ids.items() for one in some}

    def _locks(self) -> list[str]:
        s3 = client(self.sandbox, "s3")
        keys = [
            one["Key"]
            for bucket in s3.list_buckets()["Buckets"]
            for one in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])
        ]
        return [one for one in keys if one.endswith(".tflock")]


def one_run(sandbox: Sandbox, number: int) -> Found:
    with laptop(sandbox) as folder:
        return Run(sandbox, folder, chance_of("deploys", number)).play()


@pytest.fixture(scope="module")
def sandboxes():
    """Rehearsals where a block has been bought and has begun, and a state bucket made."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(open_sandbox(region=REGION, host_suite="none")) for _ in range(LANES)]
        for one in made:
            with contextlib.redirect_stdout(io.StringIO()):
                main_job.prepare(Demo(one, REGION))
        yield made


def test_deploys_interrupted_at_random(sandboxes, tally):
    counted = tally("deploys", harms=HARMS)
    play(counted, numbers(RUNS) if THOROUGH else SHORT, sandboxes, one_run)
    counted.check()
