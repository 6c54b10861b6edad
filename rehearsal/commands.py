"""Run Command's own side: commands, their invocations, how many run at once, and when one may be seen.

Sources
-------
- Statuses, MaxConcurrency, MaxErrors: Systems Manager user guide, "Understanding command statuses" and "Send
  commands that use targets and rate controls"; SSM API reference, SendCommand.
- An invocation can be unknown just after SendCommand: SSM API reference, GetCommandInvocation (InvocationDoesNotExist,
  and that Run Command is eventually consistent).
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from rehearsal import agent
from rehearsal.agent import Job, StepRecord
from rehearsal.documents import Step
from rehearsal.errors import AwsError
from rehearsal.fleet import Fleet


@dataclass(frozen=True)
class Delays:
    """Seconds: from SendCommand until an invocation can be seen, and until the agent has the command; from a change of
    a status until it shows; and what each call of any service takes.
    """

    visible: float = 0.05
    delivery: float = 0.1
    status: float = 0.0
    call: float = 0.0


AWS_LIKE = Delays(visible=1.0, delivery=1.5, status=1.0, call=0.1)
"""About as long as in a real account. Round figures, not measured ones: AWS promises none."""


@dataclass
class Invocation:
    """A command on one instance. `visible_at`: UTC, real time."""

    instance_id: str
    records: list[StepRecord]
    requested: datetime
    visible_at: datetime
    status: str = "Pending"
    details: str = "Pending"
    cancelled: threading.Event = field(default_factory=threading.Event)
    lost: bool = False
    began: datetime | None = None
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in ("Success", "Failed", "TimedOut", "Cancelled")

    def end(self, status: str, details: str | None = None) -> None:
        self.status = status
        self.details = details or ("ExecutionTimedOut" if status == "TimedOut" else status)
        self.ended_at = datetime.now(timezone.utc)

    def begin(self) -> None:
        self.status = self.details = "InProgress"
        self.began = datetime.now(timezone.utc)

    def as_of(self, moment: datetime) -> Invocation:
        """It as it stood then."""
        status, details = self.status, self.details
        if self.ended_at is not None and self.ended_at > moment:
            status = details = "InProgress" if self.began and self.began <= moment else "Pending"
        elif status == "InProgress" and self.began is not None and self.began > moment:
            status = details = "Pending"
        return replace(self, status=status, details=details, records=[one.as_of(moment) for one in self.records])


@dataclass(frozen=True)
class Request:
    """What SendCommand asked. `timeout`: seconds within which the command must be delivered."""

    region: str
    document_name: str
    document_version: str
    steps: Sequence[Step]
    instance_ids: Sequence[str]
    parameters: Mapping[str, Sequence[str]]
    targets: Sequence[Mapping[str, Any]]
    comment: str
    timeout: int
    max_concurrency: str
    max_errors: str


@dataclass
class Command:
    """A request under way."""

    command_id: str
    request: Request
    requested: datetime
    invocations: list[Invocation]

    @property
    def expires(self) -> datetime:
        return self.requested + timedelta(seconds=self.request.timeout)

    @property
    def completed(self) -> int:
        return sum(one.ended for one in self.invocations)

    @property
    def errors(self) -> int:
        return sum(one.status in ("Failed", "TimedOut") for one in self.invocations)

    @property
    def status(self) -> str:
        statuses = [one.status for one in self.invocations]
        if any(not one.ended for one in self.invocations):
            waiting = all(one == "Pending" for one in statuses)
            return "Pending" if waiting else "Cancelling" if "Cancelling" in statuses else "InProgress"
        return next((one for one in ("Failed", "TimedOut", "Cancelled") if one in statuses), "Success")


def rate(text: str, targets: int) -> int:
    """A number or a percentage of the targets, as MaxConcurrency and MaxErrors are given."""
    return targets * int(text[:-1]) // 100 if text.endswith("%") else int(text)


class CommandCentre:
    """All commands of a rehearsal. Safe to use from any thread."""

    def __init__(self, fleet: Fleet, delays: Delays) -> None:
        self._fleet = fleet
        self._delays = delays
        self._lock = threading.RLock()
        self._commands: dict[str, Command] = {}

    def send(self, request: Request) -> Command:
        """Take a command on; it runs in the background."""
        now = datetime.now(timezone.utc)
        visible = now + timedelta(seconds=self._delays.visible)
        invocations = [
            Invocation(instance_id, [StepRecord(step.name) for step in request.steps], now, visible)
            for instance_id in request.instance_ids
        ]
        command = Command(str(uuid.uuid4()), request, now, invocations)
        with self._lock:
            self._commands[command.command_id] = command
        threading.Thread(
            target=self._dispatch, args=(command,), name=f"command {command.command_id}", daemon=True
        ).start()
        return command

    def commands(self, region: str) -> list[Command]:
        """A region's commands, newest first."""
        with self._lock:
            return [one for one in reversed(self._commands.values()) if one.request.region == region]

    def command(self, region: str, command_id: str) -> Command:
        """AwsError (InvalidCommandId) when there is none of that id."""
        with self._lock:
            command = self._commands.get(command_id)
        if command is None or command.request.region != region:
            raise AwsError("InvalidCommandId", f"Invalid command id {command_id}.")
        return command

    def visible(self, command: Command) -> list[Invocation]:
        """The command's invocations that can be seen yet, as they stood so long ago as a change takes to show."""
        now = datetime.now(timezone.utc)
        with self._lock:
            seen = [one for one in command.invocations if one.visible_at <= now]
            if not self._delays.status:
                return seen
            return [one.as_of(now - timedelta(seconds=self._delays.status)) for one in seen]

    def cancel(self, command: Command, instance_ids: Sequence[str]) -> None:
        """Cancel on the instances named, or on all; what has ended stays as it ended."""
        with self._lock:
            for one in command.invocations:
                if one.ended or (instance_ids and one.instance_id not in instance_ids):
                    continue
                if one.status == "Pending":
                    one.end("Cancelled")
                    for record in one.records:
                        record.status = "Cancelled"
                else:
                    one.end("Cancelling")
                one.cancelled.set()

    def lose(self, instance_ids: Iterable[str]) -> None:
        """Stop what runs on instances that are going. Nobody is left to report: what was last known stays."""
        gone = set(instance_ids)
        with self._lock:
            for command in self._commands.values():
                for one in command.invocations:
                    if one.instance_id in gone and not one.ended:
                        one.lost = True
                        one.records = [replace(record) for record in one.records]
                        one.cancelled.set()

    def _dispatch(self, command: Command) -> None:
        """Hand the command to its instances: so many at once, and no more after too many errors."""
        most = max(1, rate(command.request.max_concurrency, len(command.invocations)))
        allowed = rate(command.request.max_errors, len(command.invocations))
        slots = threading.Semaphore(most)
        for one in command.invocations:
            slots.acquire()
            if command.errors > allowed:
                with self._lock:
                    if not one.ended:
                        one.end("Cancelled", "Terminated")
                slots.release()
                continue
            threading.Thread(target=self._deliver, args=(command, one, slots), daemon=True).start()

    def _deliver(self, command: Command, invocation: Invocation, slots: threading.Semaphore) -> None:
        try:
            invocation.cancelled.wait(self._delays.delivery)
            machine = self._fleet.running(invocation.instance_id)
            with self._lock:
                if invocation.ended or machine is None:
                    return
                if not invocation.cancelled.is_set():
                    invocation.begin()
            request = command.request
            job = Job(command.command_id, invocation.instance_id, request.region, request.steps)
            ended = agent.run(job, machine, invocation.records, cancelled=invocation.cancelled)
            with self._lock:
                if ended and not invocation.lost:
                    invocation.end(agent.merged(invocation.records))
        finally:
            slots.release()
