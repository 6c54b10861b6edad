"""SSM Run Command as the runner needs it: documents that exist, commands sent, their steps read.

Takes a boto3 SSM client; a fake with the same few methods serves in tests.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchneuron.aws_errors import calling
from torchneuron.errors import AwsError, SetupError, UnreachableError
from torchneuron.setup.document import NAME_PREFIX, Document
from torchneuron.setup.reach import is_online, not_managed

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import CommandFilterTypeDef, CommandPluginTypeDef, CommandTypeDef

# Run Command's terminal states (SSM API reference, CommandInvocation.Status and StatusDetails).
_ENDED = {"Success", "Cancelled", "TimedOut", "Failed"}
# SendCommand's TimeoutSeconds is how long delivery may take, not how long the command may run.
_DELIVERY_SECONDS = 600
# Seconds between looks for a command whose answer was lost: Run Command is eventually consistent.
_LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)


@dataclass(frozen=True)
class StepStatus:
    """One step of a command. `status` is SSM's own word; `seconds` is None until the step has ended."""

    task: str
    status: str
    exit_code: int | None
    seconds: float | None
    last_line: str

    @property
    def succeeded(self) -> bool:
        return self.status == "Success"


@dataclass(frozen=True)
class CommandStatus:
    """A command on one instance. `details` is SSM's StatusDetails ("Delivery Timed Out", …)."""

    command_id: str
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


class Commands:
    """Run Command on one instance. `once` must be a client without retries (`Aws.ssm_once`)."""

    def __init__(self, ssm: SSMClient, once: SSMClient, instance_id: str) -> None:
        self._ssm = ssm
        self._once = once
        self._instance_id = instance_id

    def ensure_document(self, document: Document) -> None:
        """Create `document` if it is not there. Its name is its content's hash, so one there is the same."""
        try:
            with calling("create the command document"):
                self._ssm.create_document(
                    Name=document.name,
                    Content=document.content,
                    DocumentType="Command",
                    DocumentFormat="JSON",
                    TargetType="/AWS::EC2::Instance",
                    Tags=[{"Key": "ManagedBy", "Value": "torchneuron"}],
                )
        except AwsError as error:
            if error.code != "DocumentAlreadyExists":
                raise
        self._await_active(document.name)

    def _await_active(self, name: str) -> None:
        for _ in range(60):
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

    def send(self, document: Document) -> str:
        """Send `document` to the instance; its command id. The run it starts needs nobody to watch it.

        SendCommand has no client token, and two runs at once would ruin each other: it is sent once,
        with a comment of its own, and a lost answer is settled by looking for that comment.
        Raises SetupError when even that does not tell.
        """
        comment = f"torchneuron setup {uuid.uuid4()}"
        try:
            with calling(f"send the setup to {self._instance_id}"):
                sent = self._once.send_command(
                    InstanceIds=[self._instance_id],
                    DocumentName=document.name,
                    Comment=comment,
                    TimeoutSeconds=_DELIVERY_SECONDS,
                )
        except UnreachableError as error:
            return self._find_sent(comment, error)
        except AwsError as error:
            if error.code == "InvalidInstanceId":
                raise not_managed(self._instance_id, self._ssm.meta.region_name) from error
            raise
        return sent["Command"]["CommandId"]

    def _find_sent(self, comment: str, lost: UnreachableError) -> str:
        """The id of the command sent with `comment`, whose answer was `lost`."""
        for pause in _LOOKS:
            time.sleep(pause)
            for command in self._listed():
                if command.get("Comment") == comment:
                    return command["CommandId"]
        raise SetupError(
            f"AWS did not answer when the setup was sent to {self._instance_id}, and shows no command of it.",
            why=str(lost),
            do="Run it again: it first looks for one under way.",
        ) from lost

    def _listed(self, *filters: CommandFilterTypeDef) -> Iterator[CommandTypeDef]:
        """Commands on the instance, the newest first."""
        with calling("look for a setup under way"):
            pages = self._ssm.get_paginator("list_commands").paginate(
                InstanceId=self._instance_id, Filters=list(filters)
            )
            for page in pages:
                yield from page["Commands"]

    def reached(self) -> bool:
        """Whether Systems Manager has a connection to the instance's agent."""
        return is_online(self._ssm, self._instance_id)

    def under_way(self) -> tuple[str, str] | None:
        """The id and document name of a setup command of ours that has not ended on the instance."""
        for status in ("Pending", "InProgress"):
            for command in self._listed({"key": "Status", "value": status}):
                if command["DocumentName"].startswith(NAME_PREFIX):
                    return command["CommandId"], command["DocumentName"]
        return None

    def status(self, command_id: str) -> CommandStatus | None:
        """How far the command is; None when SSM does not know it (yet, or any more)."""
        with calling("read how far the setup is"):
            answer = self._ssm.list_command_invocations(
                CommandId=command_id, InstanceId=self._instance_id, Details=True
            )
        if not answer["CommandInvocations"]:
            return None
        invocation = answer["CommandInvocations"][0]
        return CommandStatus(
            command_id=command_id,
            status=invocation["Status"],
            details=invocation.get("StatusDetails", ""),
            steps=tuple(_step(plugin) for plugin in invocation.get("CommandPlugins", [])),
        )

    def output(self, command_id: str, task: str) -> StepOutput:
        with calling(f"read the output of {task}"):
            got = self._ssm.get_command_invocation(CommandId=command_id, InstanceId=self._instance_id, PluginName=task)
        return StepOutput(
            got.get("ResponseCode", -1),
            got.get("StandardOutputContent", ""),
            got.get("StandardErrorContent", ""),
        )


def _step(plugin: CommandPluginTypeDef) -> StepStatus:
    started, ended = plugin.get("ResponseStartDateTime"), plugin.get("ResponseFinishDateTime")
    lines = plugin.get("Output", "").strip().splitlines()
    return StepStatus(
        task=plugin["Name"],
        status=plugin["Status"],
        exit_code=plugin.get("ResponseCode"),
        seconds=(ended - started).total_seconds() if started and ended else None,
        last_line=lines[-1].strip() if lines else "",
    )
