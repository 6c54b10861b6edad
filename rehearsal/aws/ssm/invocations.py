"""Commands and their invocations, as Systems Manager has them: what it knows of each, and since when.

Sources
-------
- Statuses of plugins, invocations and commands, which of them count as errors, the total time-out: Systems Manager
  user guide, "Understanding command statuses".
- Status has fewer values than StatusDetails: SSM API reference, CommandInvocation, Command. How the two pair where
  the guide does not say is assumed: `Cancelled` with `Terminated`, `Success` with `Incomplete` (of an incomplete
  command the guide says that its status is Success), `Failed` with `NoInstancesInTag`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from rehearsal.aws.ssm.agent import StepRecord
from rehearsal.aws.ssm.documents import Step

ENDED = ("Success", "Failed", "TimedOut", "Cancelled")
DELIVERY_TIMED_OUT, EXECUTION_TIMED_OUT = "DeliveryTimedOut", "ExecutionTimedOut"


@dataclass(frozen=True)
class Seen:
    """What there is to be seen of an invocation at one time."""

    status: str
    details: str
    records: tuple[StepRecord, ...]

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def taken_up(self) -> bool:
        """Whether an agent has it, and has not ended it."""
        return self.status in ("InProgress", "Cancelling")

    @property
    def is_error(self) -> bool:
        """Whether it counts against MaxErrors: one that was never delivered doesn't."""
        return self.details in ("Failed", EXECUTION_TIMED_OUT)


@dataclass
class Invocation:
    """A command on one instance. `visible_at`: UTC, real time. `history`: by seconds of real time.

    `cancelled` is what its agent has heard of, `cancelling` what was asked for.
    """

    instance_id: str
    requested: datetime
    visible_at: datetime
    history: list[tuple[float, Seen]]
    cancelled: threading.Event = field(default_factory=threading.Event)
    cancelling: bool = False
    lost: bool = False
    unsent: Seen | None = None

    @property
    def now(self) -> Seen:
        return self.history[-1][1]

    def as_of(self, instant: float) -> Seen:
        """What was known then."""
        return next((seen for at, seen in reversed(self.history) if at <= instant), self.history[0][1])

    def note(self, instant: float, seen: Seen) -> None:
        """Know this from now on. What has ended stays as it ended."""
        if not self.now.ended:
            self.history.append((instant, seen))

    def end_unreported(self, instant: float, status: str, details: str) -> None:
        """End without the agent's having said so: steps that have not ended are as the invocation is."""
        records = tuple(
            one if one.ended else replace(one, status=_STEP_STATUS.get(status, "Cancelled"), details=details)
            for one in self.now.records
        )
        self.note(instant, Seen(status, details, records))


_STEP_STATUS: Mapping[str, Any] = {"TimedOut": "TimedOut", "Cancelled": "Cancelled", "Failed": "Failed"}


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

    @property
    def total_timeout(self) -> timedelta:
        """Time for delivery and for execution. Of a document with several steps the sum of theirs is assumed."""
        return timedelta(seconds=self.timeout + sum(step.timeout for step in self.steps))


@dataclass
class Command:
    """A request under way. `requested` is real time; `sent` is the rehearsal's, by which it expires."""

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
        return sum(one.now.is_error for one in self.invocations)


def rate(text: str, targets: int) -> int:
    """A number or a percentage of the targets, as MaxConcurrency and MaxErrors are given: 10% of 50 errors are 5."""
    return targets * int(text[:-1]) // 100 if text.endswith("%") else int(text)


def aggregated(command: Command, seen: Sequence[Seen]) -> tuple[str, str]:
    """Status and details of a command whose invocations are like this."""
    if not command.invocations:
        return "Failed", "NoInstancesInTag"
    if any(not one.ended for one in seen):
        return _under_way(command, seen)
    counts = {details: sum(one.details == details for one in seen) for details in {one.details for one in seen}}
    allowed = command.errors_allowed
    if counts.get("Success") == len(seen):
        return "Success", "Success"
    if command.cancelled or counts.get("Cancelled") == len(seen):
        return "Cancelled", "Cancelled"
    if counts.get(EXECUTION_TIMED_OUT, 0) > allowed and not counts.get("Failed"):
        return "TimedOut", EXECUTION_TIMED_OUT
    if sum(one.is_error for one in seen) > allowed:
        return "Failed", "Failed"
    if counts.get(DELIVERY_TIMED_OUT, 0) > allowed:
        return "TimedOut", DELIVERY_TIMED_OUT
    return "Success", "Incomplete"


def _under_way(command: Command, seen: Sequence[Seen]) -> tuple[str, str]:
    if command.cancelled:
        return "Cancelling", "Cancelling"
    if all(one.status in ("Pending", "Delayed") for one in seen):
        delayed = any(one.status == "Delayed" for one in seen)
        return "Pending", "Delayed" if delayed else "Pending"
    return "InProgress", "InProgress"
