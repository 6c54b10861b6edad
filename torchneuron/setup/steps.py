"""Commands, steps and outcomes as this project reports them, and the interface that displays them.

SSM has no status for a skipped step. It reports success for a step that the agent left out after a failure, for one
whose test (`onlyIf`) was false, and for one that had finished before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from torchneuron.core.errors import TorchNeuronError
from torchneuron.setup import library
from torchneuron.setup.plan import Plan

if TYPE_CHECKING:
    from mypy_boto3_ssm.type_defs import CommandInvocationTypeDef, CommandPluginTypeDef

_AGENT_LINES = ("failed to run commands: exit status", "Step was found to have onFailure", "----------ERROR-------")


class CommandStatus(str, Enum):
    """Status of a command, an invocation or a plugin (SSM API reference: Command, CommandInvocation, CommandPlugin)."""

    PENDING = "Pending"
    DELAYED = "Delayed"
    IN_PROGRESS = "InProgress"
    CANCELLING = "Cancelling"
    SUCCESS = "Success"
    CANCELLED = "Cancelled"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"

    @classmethod
    def _missing_(cls, value: object) -> CommandStatus:
        # A status that AWS adds later is not taken for the end of a command.
        return cls.IN_PROGRESS

    @property
    def is_terminal(self) -> bool:
        return self in (self.SUCCESS, self.CANCELLED, self.FAILED, self.TIMED_OUT)


class StepState(str, Enum):
    """State of a step. The value is what people and programs read."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FINISHED_BEFORE = "finished before"
    SKIPPED = "skipped"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED OUT"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    NOT_RUN = "not run"

    @property
    def succeeded(self) -> bool:
        return self in (StepState.DONE, StepState.FINISHED_BEFORE, StepState.SKIPPED)

    @property
    def stops_run(self) -> bool:
        """Whether no later step runs, unless this one is optional."""
        return self in (StepState.FAILED, StepState.TIMED_OUT, StepState.CANCELLED)

    @property
    def is_terminal(self) -> bool:
        return self not in (StepState.WAITING, StepState.RUNNING, StepState.CANCELLING)


_STATES = {
    CommandStatus.PENDING: StepState.WAITING,
    CommandStatus.DELAYED: StepState.WAITING,
    CommandStatus.IN_PROGRESS: StepState.RUNNING,
    CommandStatus.CANCELLING: StepState.CANCELLING,
    CommandStatus.SUCCESS: StepState.DONE,
    CommandStatus.CANCELLED: StepState.CANCELLED,
    CommandStatus.FAILED: StepState.FAILED,
    CommandStatus.TIMED_OUT: StepState.TIMED_OUT,
}


@dataclass(frozen=True)
class StepStatus:
    """One step of a command on one instance. `seconds` is None until the step has ended."""

    task: str
    state: StepState
    exit_code: int | None = None
    seconds: float | None = None
    last_line: str = ""


@dataclass(frozen=True)
class Invocation:
    """A command on one instance. `details` is SSM's StatusDetails ("DeliveryTimedOut", "Terminated", …)."""

    status: CommandStatus
    details: str
    steps: tuple[StepStatus, ...]


def read_invocation(raw: CommandInvocationTypeDef, tasks: Collection[str]) -> Invocation:
    """An element of ListCommandInvocations, for a command that runs `tasks`."""
    plugins = raw.get("CommandPlugins", [])
    # The one step of AWS-RunShellScript is not named after the task.
    only = next(iter(tasks)) if len(plugins) == len(tasks) == 1 else ""
    return Invocation(
        status=CommandStatus(raw["Status"]),
        details=raw.get("StatusDetails", ""),
        steps=tuple(_read_step(plugin, only or plugin["Name"]) for plugin in plugins),
    )


def _read_step(plugin: CommandPluginTypeDef, task: str) -> StepStatus:
    started, ended = plugin.get("ResponseStartDateTime"), plugin.get("ResponseFinishDateTime")
    lines = own_lines(plugin.get("Output", ""))
    last = lines[-1].strip() if lines else ""
    state = _STATES[CommandStatus(plugin["Status"])]
    if state is StepState.DONE:
        # The only line that may precede these is "waiting for another run".
        if library.FINISHED_BEFORE in lines[:2]:
            state, last = StepState.FINISHED_BEFORE, ""
        elif skipped := [line for line in lines[:2] if line.startswith(library.SKIPPED)]:
            state, last = StepState.SKIPPED, f"false: {skipped[0].removeprefix(library.SKIPPED)}"
    return StepStatus(
        task=task,
        state=state,
        exit_code=plugin.get("ResponseCode"),
        seconds=(ended - started).total_seconds() if started and ended else None,
        last_line=last,
    )


def own_lines(text: str) -> list[str]:
    """The lines that a step itself wrote: no empty lines, none of the agent's."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith(_AGENT_LINES)]


def in_order(
    steps: Sequence[StepStatus], order: Sequence[str], optional: Collection[str] = ()
) -> tuple[StepStatus, ...]:
    """`steps` in the command's order, with everything after the first failure marked as not run.

    `optional` tasks may fail without stopping the run. SSM reports a step that the agent left out after a failure as a
    success with exit code 0 (amazon-ssm-agent, agent/framework/runpluginutil/runpluginutil.go).
    """
    places = {name: place for place, name in enumerate(order)}
    arranged, stopped = [], False
    for step in sorted(steps, key=lambda step: places.get(step.task, len(places))):
        arranged.append(replace(step, state=StepState.NOT_RUN, seconds=None, last_line="") if stopped else step)
        stopped = stopped or (step.state.stops_run and step.task not in optional)
    return tuple(arranged)


def first_failed(steps: Sequence[StepStatus], optional: Collection[str] = ()) -> StepStatus | None:
    """The step that stopped the run, if any."""
    return next((step for step in steps if step.state.stops_run and step.task not in optional), None)


@dataclass(frozen=True)
class Outcome:
    """Result of a run on one instance. `failure` is None if the run succeeded.

    `ran` are the tasks that ran now, `skipped` those that had finished before, `left_out` those that were not selected,
    `failed_optional` those that failed without stopping the run. `last_lines` maps each task that succeeded now to the
    last line of its output.
    """

    instance_id: str
    ran: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    failed_optional: tuple[str, ...] = ()
    failure: TorchNeuronError | None = None
    last_lines: Mapping[str, str] = field(default_factory=dict)


class Monitor(Protocol):
    """Displays a run. Called in the order `planned`, `sent`, `progress`, `ended`; `note` at any time."""

    def planned(self, plans: Mapping[str, Plan]) -> None:
        """The plan of each instance, before anything is sent."""

    def sent(self, command_id: str, instance_ids: Sequence[str], *, attached: bool) -> None:
        """A command is under way; `attached` if an earlier run sent it."""

    def progress(self, instance_id: str, steps: Sequence[StepStatus]) -> None:
        """Status of all steps of the command under way on an instance. Called repeatedly."""

    def note(self, text: str) -> None:
        """A message for the user."""

    def ended(self, outcome: Outcome) -> None:
        """The run has ended on an instance."""
