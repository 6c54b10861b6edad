"""SSM Run Command: create documents, send commands, read their invocations, cancel them.

Commands of this project are recognized by their comment.
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
from torchneuron.setup.document import AMAZONS, NAME_PREFIX, Document, Request, identities
from torchneuron.setup.steps import CommandStatus, Invocation, read_invocation

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import CommandInvocationTypeDef, CommandTypeDef

COMMENT = "torchneuron setup "
"""Start of the comment of a setup command; an id of the request follows."""
MOST_IDS = 50
"""Maximum number of instance ids in one SendCommand (SSM API reference, SendCommand, InstanceIds)."""

# ListCommandInvocations has no filter value for Cancelling (SSM API reference, CommandFilter).
_LISTABLE = (CommandStatus.PENDING, CommandStatus.DELAYED, CommandStatus.IN_PROGRESS)
# SendCommand's TimeoutSeconds limits the delivery, not the execution.
_DELIVERY_SECONDS = 600
# Seconds between searches for a command whose response was lost: Run Command is eventually consistent.
_LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
_ACTIVE_SECONDS = 60
# botocore's model, CommandId: other lengths fail validation on the client.
_COMMAND_ID_LENGTH = 36


@dataclass(frozen=True)
class CommandTargets:
    """Targets of a command: at most `MOST_IDS` instances, or all instances with a tag ("tag:Key", value).

    `max_concurrency` and `max_errors` are SSM's: a number or a percentage; empty for SSM's default.
    """

    instance_ids: tuple[str, ...]
    tag: tuple[str, str] | None = None
    max_concurrency: str = ""
    max_errors: str = ""

    def as_arguments(self) -> dict[str, Any]:
        """The arguments of SendCommand."""
        targets: dict[str, Any] = {"InstanceIds": list(self.instance_ids)}
        if self.tag:
            targets = {"Targets": [{"Key": self.tag[0], "Values": [self.tag[1]]}]}
        rates = {"MaxConcurrency": self.max_concurrency, "MaxErrors": self.max_errors}
        return targets | {name: value for name, value in rates.items() if value}


@dataclass(frozen=True)
class StepOutput:
    """Output of a step, as far as SSM keeps it: 24,000 characters of stdout, 8,000 of stderr."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class SentCommand:
    """A command that SSM has accepted."""

    command_id: str
    document: str


class RunCommand:
    """Run Command in one region, for the documents of one project."""

    def __init__(self, ssm: SSMClient, once: SSMClient, project: str) -> None:
        """`once` must be a client without retries (`Aws.ssm_once`)."""
        self._ssm = ssm
        self._once = once
        self._project = project

    def create_document(self, request: Request) -> Document:
        """Create a document for one run. Its random name keeps others from creating or changing it beforehand.

        Raises AccessError without the permission.
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
            # A retry after a lost response: the hash is lost as well, so the content cannot be verified.
            self.delete_document(name)
            return self.create_document(request)
        if created.get("Status") != "Active":
            self._await_active(name)
        return Document(name, created["DocumentVersion"], created["Hash"])

    def delete_document(self, name: str) -> None:
        """Delete a document; no error if it does not exist."""
        try:
            with calling("delete the command document"):
                self._ssm.delete_document(Name=name)
        except AwsError as error:
            if error.code != "InvalidDocument":
                raise

    def _await_active(self, name: str) -> None:
        for _ in range(_ACTIVE_SECONDS):
            with calling("describe the command document"):
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

    def send(self, request: Request, document: Document, targets: CommandTargets) -> str:
        """Send a request by a document that was created for it, and return the command id.

        SendCommand has no client token, and two runs must not interleave. So it is sent once, with a unique comment; if
        the response is lost, the command is searched for by that comment.
        Raises SetupError if that finds nothing, NotFoundError if an instance is not managed.
        """
        comment = f"{COMMENT}{uuid.uuid4()}"
        try:
            with calling(f"send the setup to {', '.join(targets.instance_ids)}"):
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
        for pause in _LOOKS:
            time.sleep(pause)
            for command in self.history(instance_ids[0]):
                if command.get("Comment") == comment:
                    return command["CommandId"]
        raise SetupError(
            f"AWS did not answer when the setup was sent to {', '.join(instance_ids)}, and lists no such command.",
            why=str(lost),
            do="Run it again: it first looks for a command under way.",
        ) from lost

    def history(self, instance_id: str) -> Iterator[CommandTypeDef]:
        """Setup commands of the last 30 days on an instance, newest first."""
        with calling("list earlier commands"):
            for page in self._ssm.get_paginator("list_commands").paginate(InstanceId=instance_id):
                yield from (command for command in page["Commands"] if _is_setup(command.get("Comment", "")))

    def under_way(self, instance_ids: Sequence[str]) -> dict[str, SentCommand]:
        """The setup command that has not ended, by instance id."""
        only = instance_ids[0] if len(instance_ids) == 1 else ""
        found: dict[str, SentCommand] = {}
        for invocation in open_invocations(self._ssm, only):
            if invocation["InstanceId"] in instance_ids and _is_setup(invocation.get("Comment", "")):
                sent = SentCommand(invocation["CommandId"], invocation["DocumentName"])
                found.setdefault(invocation["InstanceId"], sent)
        return found

    def invocations(self, command_id: str, tasks: Collection[str], instance_id: str = "") -> dict[str, Invocation]:
        """Status of a command that runs `tasks`, by instance id; empty if SSM does not know the command (yet).

        `instance_id` limits it to one instance.
        """
        if len(command_id) != _COMMAND_ID_LENGTH:
            return {}
        only = {"InstanceId": instance_id} if instance_id else {}
        try:
            listed = list(_list_invocations(self._ssm, CommandId=command_id, Details=True, **only))
        except AwsError as error:
            if error.code != "InvalidCommandId":
                raise
            return {}
        return {invocation["InstanceId"]: read_invocation(invocation, tasks) for invocation in listed}

    def tasks_of(self, sent: SentCommand) -> dict[str, str]:
        """Ids and digests of the tasks of a command; empty if SSM no longer knows it."""
        try:
            with calling("read the command"):
                commands = self._ssm.list_commands(CommandId=sent.command_id)["Commands"]
        except AwsError as error:
            if error.code != "InvalidCommandId":
                raise
            return {}
        return identities(commands[0].get("Parameters", {})) if commands else {}

    def output(self, command_id: str, instance_id: str, task: str, *, is_only: bool) -> StepOutput:
        """Output of a step. `is_only`: the command is an AWS-RunShellScript, whose one step has another name."""
        plugin = {} if is_only else {"PluginName": task}
        with calling(f"read the output of {task}"):
            got = self._ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id, **plugin)
        return StepOutput(
            got.get("ResponseCode", -1),
            got.get("StandardOutputContent", ""),
            got.get("StandardErrorContent", ""),
        )

    def reached(self, instance_ids: Sequence[str]) -> set[str]:
        """The instances whose agents have a connection to Systems Manager."""
        return online_instances(self._ssm, instance_ids)

    def cancel(self, command_id: str, instance_ids: Sequence[str]) -> None:
        """Request the cancellation of a command on these instances. It has ended once its status is terminal."""
        with calling("cancel the setup"):
            self._ssm.cancel_command(CommandId=command_id, InstanceIds=list(instance_ids))


def open_invocations(ssm: SSMClient, instance_id: str = "") -> Iterator[CommandInvocationTypeDef]:
    """Invocations that have not ended: of one instance or, without an id, of the region. May repeat some.

    On a region, an invocation that is being cancelled is found through its command, which must be a setup command.
    """
    if instance_id:
        yield from _not_ended(_list_invocations(ssm, InstanceId=instance_id))
        return
    for status in _LISTABLE:
        yield from _list_invocations(ssm, Filters=[{"key": "Status", "value": status.value}])
    with calling("list the commands under way"):
        pages = ssm.get_paginator("list_commands").paginate(Filters=[{"key": "ExecutionStage", "value": "Executing"}])
        commands = [command for page in pages for command in page["Commands"]]
    for command in commands:
        if _is_setup(command.get("Comment", "")):
            yield from _not_ended(_list_invocations(ssm, CommandId=command["CommandId"]))


def _not_ended(invocations: Iterator[CommandInvocationTypeDef]) -> Iterator[CommandInvocationTypeDef]:
    return (invocation for invocation in invocations if not CommandStatus(invocation["Status"]).is_terminal)


def _list_invocations(ssm: SSMClient, **filters: Any) -> Iterator[CommandInvocationTypeDef]:
    with calling("list the invocations of the setup"):
        for page in ssm.get_paginator("list_command_invocations").paginate(**filters):
            yield from page["CommandInvocations"]


def _is_setup(comment: str) -> bool:
    return comment.startswith(COMMENT)


def check_rates(max_concurrency: str, max_errors: str) -> None:
    """Raises InputError for values that SendCommand would refuse (SSM API reference, patterns of both)."""
    for option, text, least in (("--max-concurrency", max_concurrency, 1), ("--max-errors", max_errors, 0)):
        number = text.removesuffix("%")
        if not text:
            continue
        if not (number.isascii() and number.isdigit() and len(number) <= 7) or int(number) < least:
            raise InputError(f"{option} {text!r} is neither a number nor a percentage.", do="Examples: 10, 25%.")
        if text.endswith("%") and int(number) > 100:
            raise InputError(f"{option} {text!r} is more than 100%.")
