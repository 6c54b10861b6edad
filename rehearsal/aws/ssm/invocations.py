"""Commands and invocations in Systems Manager, with the history of each invocation's state.

Sources
-------
- Statuses of plugins, invocations and commands, which of them are errors, the total timeout: Systems Manager user
  guide, "Understanding command statuses".
- Status has fewer values than StatusDetails: SSM API reference, CommandInvocation, Command. Assumed where the guide
  does not say: Status is `Cancelled` for `Terminated`, and `Failed` for `NoInstancesInTag`. For `Incomplete` the guide
  says Success.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from rehearsal.aws.ssm.agent import StepRecord
from rehearsal.aws.ssm.documents import Step

ENDED = ("Success", "Failed", "TimedOut", "Cancelled")
DELIVERY_TIMED_OUT, EXECUTION_TIMED_OUT = "DeliveryTimedOut", "ExecutionTimedOut"


@dataclass(frozen=True)
class InvocationState:
    """What Systems Manager shows of an invocation at one time."""

    status: str
    details: str
    records: tuple[StepRecord, ...]

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def is_running(self) -> bool:
        """Whether the agent has received the command and not ended it."""
        return self.status in ("InProgress", "Cancelling")

    @property
    def is_error(self) -> bool:
        """Whether it counts toward MaxErrors; an undelivered invocation does not."""
        return self.details in ("Failed", EXECUTION_TIMED_OUT)


@dataclass
class Invocation:
    """A command on one instance.

    `visible_at`: UTC, real time. `history`: states by monotonic time in seconds. `cancelling`: CancelCommand was
    called; `cancelled`: the agent knows. `lost`: the instance is gone, nothing more will be reported. `unsent`: the
    last report that the agent could not send.
    """

    instance_id: str
    requested: datetime
    visible_at: datetime
    history: list[tuple[float, InvocationState]]
    cancelled: threading.Event = field(default_factory=threading.Event)
    cancelling: bool = False
    lost: bool = False
    unsent: InvocationState | None = None

    @property
    def state(self) -> InvocationState:
        return self.history[-1][1]

    def state_at(self, moment: float) -> InvocationState:
        """The state at a monotonic time in seconds."""
        return next((state for since, state in reversed(self.history) if since <= moment), self.history[0][1])

    def change(self, moment: float, state: InvocationState) -> None:
        """Change the state, unless the invocation has ended."""
        if not self.state.ended:
            self.history.append((moment, state))

    def end_unreported(self, moment: float, status: Literal["TimedOut", "Cancelled"], details: str) -> None:
        """End without a report of the agent; steps that have not ended get the invocation's status."""
        records = tuple(
            record if record.ended else replace(record, status=status, details=details) for record in self.state.records
        )
        self.change(moment, InvocationState(status, details, records))


@dataclass(frozen=True)
class Request:
    """The parameters of SendCommand. `timeout`: seconds within which the command must be delivered."""

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

    @property
    def total_timeout(self) -> timedelta:
        """Time for delivery and execution. For several steps, the sum of their timeouts is assumed."""
        return timedelta(seconds=self.timeout + sum(step.timeout for step in self.steps))


@dataclass
class Command:
    """A command that was sent. `requested`: real time. `sent`: the rehearsal's clock, by which it expires."""

    command_id: str
    request: Request
    requested: datetime
    sent: datetime
    invocations: list[Invocation]
    cancelled: bool = False

    @property
    def expires(self) -> datetime:
        return self.requested + self.request.total_timeout

    @property
    def errors_allowed(self) -> int:
        return rate(self.request.max_errors, len(self.invocations))

    @property
    def errors(self) -> int:
        return sum(invocation.state.is_error for invocation in self.invocations)


def rate(text: str, targets: int) -> int:
    """The value of MaxConcurrency or MaxErrors, a number or a percentage of the targets: 10% of 50 are 5."""
    return targets * int(text[:-1]) // 100 if text.endswith("%") else int(text)


def command_status(command: Command, states: Sequence[InvocationState]) -> tuple[str, str]:
    """Status and StatusDetails of a command whose invocations have these states."""
    if not command.invocations:
        return "Failed", "NoInstancesInTag"
    if any(not state.ended for state in states):
        return _running_status(command, states)
    counts = Counter(state.details for state in states)
    allowed = command.errors_allowed
    if counts["Success"] == len(states):
        return "Success", "Success"
    if command.cancelled or counts["Cancelled"] == len(states):
        return "Cancelled", "Cancelled"
    if counts[EXECUTION_TIMED_OUT] > allowed and not counts["Failed"]:
        return "TimedOut", EXECUTION_TIMED_OUT
    if sum(state.is_error for state in states) > allowed:
        return "Failed", "Failed"
    if counts[DELIVERY_TIMED_OUT] > allowed:
        return "TimedOut", DELIVERY_TIMED_OUT
    return "Success", "Incomplete"


def _running_status(command: Command, states: Sequence[InvocationState]) -> tuple[str, str]:
    if command.cancelled:
        return "Cancelling", "Cancelling"
    if all(state.status in ("Pending", "Delayed") for state in states):
        delayed = any(state.status == "Delayed" for state in states)
        return "Pending", "Delayed" if delayed else "Pending"
    return "InProgress", "InProgress"
