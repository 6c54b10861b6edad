"""SSM Run Command as the runner needs it: documents that exist, commands sent, their steps read, commands cancelled.

Takes boto3 SSM clients; a fake with the same few methods serves in tests. What is ours is known by its comment.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchneuron.aws.errors import calling
from torchneuron.connectivity.online import connection_lost, online_instances
from torchneuron.core import tags
from torchneuron.core.errors import AwsError, InputError, SetupError, UnreachableError
from torchneuron.setup import library
from torchneuron.setup.document import AMAZONS, NAME_PREFIX, Document, Request, identities
from torchneuron.setup.steps import StepStatus, Word

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import CommandInvocationTypeDef, CommandPluginTypeDef, CommandTypeDef

COMMENT = "torchneuron setup "
"""How the comments of our commands begin; an id of the request's own follows."""
MOST_IDS = 50
"""The most instances a SendCommand may name (SSM API reference, SendCommand, InstanceIds). By tag there is no limit."""

# Run Command's terminal states (SSM API reference, CommandInvocation.Status and StatusDetails).
_ENDED = {"Success", "Cancelled", "TimedOut", "Failed"}
_UNDER_WAY = ("Pending", "InProgress")
_WORDS = {
    "Pending": Word.WAITING,
    "Delayed": Word.WAITING,
    "InProgress": Word.RUNNING,
    "Success": Word.DONE,
    "Failed": Word.FAILED,
    "TimedOut": Word.TIMED_OUT,
    "Cancelling": Word.CANCELLING,
    "Cancelled": Word.CANCELLED,
}
_AGENTS_OWN = ("failed to run commands: exit status", "Step was found to have onFailure", "----------ERROR-------")
# SendCommand's TimeoutSeconds is how long delivery may take, not how long the command may run.
_DELIVERY_SECONDS = 600
# Seconds between looks for a command whose answer was lost: Run Command is eventually consistent.
_LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
_ACTIVE_SECONDS = 60
# botocore's model: CommandId. It refuses other ids before it sends anything.
_COMMAND_ID_LENGTH = 36


@dataclass(frozen=True)
class Targets:
    """Where a command goes: at most `MOST_IDS` instances, or all that have a tag ("tag:Key", value).

    `max_concurrency` and `max_errors` are SSM's: a number or a percentage; empty, for one instance, is left to SSM.
    """

    instance_ids: tuple[str, ...]
    tag: tuple[str, str] | None = None
    max_concurrency: str = ""
    max_errors: str = ""

    def as_arguments(self) -> dict[str, Any]:
        """As SendCommand takes it."""
        which: dict[str, Any] = {"InstanceIds": list(self.instance_ids)}
        if self.tag:
            which = {"Targets": [{"Key": self.tag[0], "Values": [self.tag[1]]}]}
        rates = {"MaxConcurrency": self.max_concurrency, "MaxErrors": self.max_errors}
        return which | {name: value for name, value in rates.items() if value}


@dataclass(frozen=True)
class Invocation:
    """A command on one instance. `details` is SSM's StatusDetails ("DeliveryTimedOut", "Terminated", …)."""

    status: str
    details: str
    steps: tuple[StepStatus, ...]

    @property
    def ended(self) -> bool:
        return self.status in _ENDED


@dataclass(frozen=True)
class StepOutput:
    """What a step wrote, as much of it as SSM keeps: 24,000 characters of stdout, 8,000 of stderr."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Found:
    """A command of ours that SSM knows."""

    command_id: str
    document: str


class Commands:
    """Run Command in one region. `once` must be a client without retries (`Aws.ssm_once`)."""

    def __init__(self, ssm: SSMClient, once: SSMClient, project: str) -> None:
        """`project`: whose documents are created."""
        self._ssm = ssm
        self._once = once
        self._project = project

    def create_document(self, request: Request) -> Document:
        """Create the request's document, for this run only: nobody can have made or changed one of its name before.

        Raises AccessError when that is not allowed.
        """
        if request.content is None:
            return AMAZONS
        name = f"{NAME_PREFIX}{self._project}-{uuid.uuid4().hex[:16]}"
        try:
            with calling("create the command document"):
                created = self._ssm.create_document(
                    Name=name,
                    Content=request.content,
                    DocumentType="Command",
                    DocumentFormat="JSON",
                    TargetType="/AWS::EC2::Instance",
                    Tags=tags.to_aws(tags.for_project(self._project)),
                )["DocumentDescription"]
        except AwsError as error:
            if error.code != "DocumentAlreadyExists":
                raise
            # Its answer was lost, and with it the hash: nobody can say any more what is in it.
            self.delete_document(name)
            return self.create_document(request)
        if created.get("Status") != "Active":
            self._await_active(name)
        return Document(name, created["DocumentVersion"], created["Hash"])

    def delete_document(self, name: str) -> None:
        """Delete a document of ours; one that is gone is fine."""
        try:
            with calling("delete the command document"):
                self._ssm.delete_document(Name=name)
        except AwsError as error:
            if error.code != "InvalidDocument":
                raise

    def _await_active(self, name: str) -> None:
        for _ in range(_ACTIVE_SECONDS):
            with calling("look at the command document"):
                described = self._ssm.describe_document(Name=name)["Document"]
            if described.get("Status") == "Active":
                return
            if described.get("Status") == "Failed":
                raise SetupError(
                    f"SSM could not create the command document {name}.",
                    why=described.get("StatusInformation", ""),
                )
            time.sleep(1)
        raise SetupError(f"The command document {name} is still not active after a minute.", do="Try again.")

    def send(self, request: Request, document: Document, targets: Targets) -> str:
        """Send `request` by its document as it was created; the command's id. What it starts needs nobody to watch.

        SendCommand has no client token, and two runs at once would get into each other's way: it is sent once, with a
        comment of its own, and a lost answer is settled by looking for that comment.
        Raises SetupError when even that does not tell, NotFoundError when an instance is not there to take it.
        """
        comment = f"{COMMENT}{uuid.uuid4()}"
        named = ", ".join(targets.instance_ids)
        try:
            with calling(f"send the setup to {named}"):
                sent = self._once.send_command(
                    **document.as_arguments(),
                    Parameters={name: list(values) for name, values in request.parameters.items()},
                    Comment=comment,
                    TimeoutSeconds=_DELIVERY_SECONDS,
                    **targets.as_arguments(),
                )
        except UnreachableError as error:
            return self._find_sent(comment, targets.instance_ids, error)
        except AwsError as error:
            if error.code == "InvalidInstanceId":
                raise connection_lost(targets.instance_ids, self._ssm.meta.region_name) from error
            raise
        return sent["Command"]["CommandId"]

    def _find_sent(self, comment: str, instance_ids: Sequence[str], lost: UnreachableError) -> str:
        """The id of the command sent with `comment`, whose answer was `lost`."""
        for pause in _LOOKS:
            time.sleep(pause)
            for command in self.history(instance_ids[0]):
                if command.get("Comment") == comment:
                    return command["CommandId"]
        raise SetupError(
            f"AWS did not answer when the setup was sent to {', '.join(instance_ids)}, and shows no command of it.",
            why=str(lost),
            do="Run it again: it first looks for one under way.",
        ) from lost

    def history(self, instance_id: str) -> Iterator[CommandTypeDef]:
        """Our commands on the instance, the newest first: SSM keeps them for 30 days."""
        with calling("look at earlier commands"):
            for page in self._ssm.get_paginator("list_commands").paginate(InstanceId=instance_id):
                yield from (one for one in page["Commands"] if one.get("Comment", "").startswith(COMMENT))

    def under_way(self, instance_ids: Sequence[str]) -> dict[str, Found]:
        """By instance, a command of ours that has not ended on it."""
        which = {"InstanceId": instance_ids[0]} if len(instance_ids) == 1 else {}
        found: dict[str, Found] = {}
        for status in _UNDER_WAY:
            for one in self._invocations(Filters=[{"key": "Status", "value": status}], **which):
                if one["InstanceId"] in instance_ids and one.get("Comment", "").startswith(COMMENT):
                    found.setdefault(one["InstanceId"], Found(one["CommandId"], one["DocumentName"]))
        return found

    def invocations(self, command_id: str, tasks: Collection[str], instance_id: str = "") -> dict[str, Invocation]:
        """How far a command of these tasks is, by instance; empty when SSM does not know it (yet, or any more).

        `instance_id`: only there.
        """
        if len(command_id) != _COMMAND_ID_LENGTH:
            return {}
        which = {"InstanceId": instance_id} if instance_id else {}
        try:
            with_steps = list(self._invocations(CommandId=command_id, Details=True, **which))
        except AwsError as error:
            if error.code != "InvalidCommandId":
                raise
            return {}
        return {one["InstanceId"]: _invocation(one, tasks) for one in with_steps}

    def _invocations(self, **which: Any) -> Iterator[CommandInvocationTypeDef]:
        with calling("read how far the setup is"):
            for page in self._ssm.get_paginator("list_command_invocations").paginate(**which):
                yield from page["CommandInvocations"]

    def tasks_of(self, found: Found) -> dict[str, str]:
        """The ids and digests of the tasks of a command; none where SSM does not know it any more."""
        try:
            with calling("read the command"):
                commands = self._ssm.list_commands(CommandId=found.command_id)["Commands"]
        except AwsError as error:
            if error.code != "InvalidCommandId":
                raise
            return {}
        return identities(commands[0].get("Parameters", {})) if commands else {}

    def output(self, command_id: str, instance_id: str, task: str, *, is_only: bool) -> StepOutput:
        """What a step wrote. `is_only`: the command has no other, and Amazon's document its own name for it."""
        which = {} if is_only else {"PluginName": task}
        with calling(f"read the output of {task}"):
            got = self._ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id, **which)
        return StepOutput(
            got.get("ResponseCode", -1),
            got.get("StandardOutputContent", ""),
            got.get("StandardErrorContent", ""),
        )

    def reached(self, instance_ids: Sequence[str]) -> set[str]:
        """Those of the instances whose agents Systems Manager has a connection to."""
        return online_instances(self._ssm, instance_ids)

    def cancel(self, command_id: str, instance_ids: Sequence[str]) -> None:
        """Ask SSM to cancel a command on these instances; what has ended there stays as it is."""
        with calling("cancel the setup"):
            self._ssm.cancel_command(CommandId=command_id, InstanceIds=list(instance_ids))


def check_rates(max_concurrency: str, max_errors: str) -> None:
    """Raises InputError for what SendCommand would refuse (SSM API reference: patterns of both)."""
    for option, text, least in (("--max-concurrency", max_concurrency, 1), ("--max-errors", max_errors, 0)):
        number = text.removesuffix("%")
        if not text:
            continue
        if not (number.isascii() and number.isdigit() and len(number) <= 7) or int(number) < least:
            raise InputError(f"{option} {text!r} is neither a number nor a percentage.", do="Such as 10, or 25%.")
        if text.endswith("%") and int(number) > 100:
            raise InputError(f"{option} {text!r} is more than all.", do="Give at most 100%.")


def own_lines(text: str) -> list[str]:
    """The lines that a step wrote itself, without empty ones and without what the agent adds to them."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith(_AGENTS_OWN)]


def _invocation(raw: CommandInvocationTypeDef, tasks: Collection[str]) -> Invocation:
    plugins = raw.get("CommandPlugins", [])
    # Amazon's document has one step, which it calls what it likes.
    only = next(iter(tasks)) if len(plugins) == len(tasks) == 1 else ""
    return Invocation(
        status=raw["Status"],
        details=raw.get("StatusDetails", ""),
        steps=tuple(_step(plugin, only or plugin["Name"]) for plugin in plugins),
    )


def _step(plugin: CommandPluginTypeDef, task: str) -> StepStatus:
    started, ended = plugin.get("ResponseStartDateTime"), plugin.get("ResponseFinishDateTime")
    lines = own_lines(plugin.get("Output", ""))
    last = lines[-1].strip() if lines else ""
    word = _WORDS.get(plugin["Status"], Word.RUNNING)
    if word is Word.DONE:
        # At the most "waiting for another run" is said before.
        if library.FINISHED_BEFORE in lines[:2]:
            word, last = Word.FINISHED_BEFORE, ""
        elif skipped := [line for line in lines[:2] if line.startswith(library.SKIPPED)]:
            word, last = Word.SKIPPED, f"not so: {skipped[0].removeprefix(library.SKIPPED)}"
    return StepStatus(
        task=task,
        word=word,
        exit_code=plugin.get("ResponseCode"),
        seconds=(ended - started).total_seconds() if started and ended else None,
        last_line=last,
    )
