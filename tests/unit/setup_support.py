"""Task files written on the spot, and a Run Command that a test scripts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchneuron.core.errors import AccessError
from torchneuron.setup import definition
from torchneuron.setup.document import AMAZONS, NAME_PREFIX, Document, Request
from torchneuron.setup.failures import ResumeCommands
from torchneuron.setup.plan import Plan
from torchneuron.setup.render import RenderedTask, render
from torchneuron.setup.run import Member
from torchneuron.setup.run_command import CommandTargets, SentCommand, StepOutput
from torchneuron.setup.state import StateStore
from torchneuron.setup.steps import CommandStatus, Invocation, Outcome, StepState, StepStatus

INSTANCE = "i-0123456789abcdef0"
OTHER = "i-0123456789abcdef1"
WORDS = ResumeCommands("sa-east-1", lambda start_from: f"invoke setup {start_from}".strip(), "invoke setup --cancel")


def write_task_file(folder: Path, tasks: Sequence[dict[str, Any]], variables: dict[str, Any] | None = None) -> Path:
    path = folder / "tasks.json"
    path.write_text(json.dumps({"variables": variables or {}, "tasks": list(tasks)}))
    return path


def task(name: str, *commands: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "description": "", "commands": list(commands) or ["true"], **more}


def rendered(
    folder: Path, tasks: Sequence[dict[str, Any]], variables: dict[str, Any] | None = None, **given: str
) -> tuple[RenderedTask, ...]:
    task_file = definition.load(write_task_file(folder, tasks, variables))
    return render(task_file, definition.fill(task_file, given))


def member(folder: Path, tasks: Sequence[RenderedTask], instance_id: str = INSTANCE) -> Member:
    return Member(instance_id, tuple(tasks), StateStore(folder, instance_id))


@dataclass
class Sent:
    """A command that was sent to the fake."""

    command_id: str
    request: Request
    document: Document
    targets: CommandTargets
    polls: int = 0
    cancelled: bool = False

    @property
    def tasks(self) -> list[str]:
        return [task.id for task in self.request.tasks]


@dataclass
class FakeRunCommand:
    """A fake of `RunCommand` that records its calls.

    A command ends after `watched` polls; the poll numbered `interrupt_at` raises KeyboardInterrupt. `fails` has tasks
    that fail, or (instance, task) pairs.
    """

    fails: set[Any] = field(default_factory=set)
    watched: int = 1
    interrupt_at: int | None = None
    unknown_polls: int = 0
    may_document: bool = True
    alive: bool = True
    foreign: dict[str, SentCommand] = field(default_factory=dict)
    commands: list[Sent] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    earlier: list[dict[str, Any]] = field(default_factory=list)

    def create_document(self, request: Request) -> Document:
        if request.content is None:
            return AMAZONS
        if not self.may_document:
            raise AccessError("Could not create the document.", code="AccessDeniedException", why="denied")
        self.documents.append(f"{NAME_PREFIX}{len(self.documents)}")
        return Document(self.documents[-1], "1", "hash")

    def delete_document(self, name: str) -> None:
        self.deleted.append(name)

    def send(self, request: Request, document: Document, targets: CommandTargets) -> str:
        self.commands.append(Sent(f"command-{len(self.commands) + 1}", request, document, targets))
        return self.commands[-1].command_id

    def history(self, instance_id: str) -> Iterator[dict[str, Any]]:
        yield from self.earlier

    def reached(self, instance_ids: Sequence[str]) -> set[str]:
        return set(instance_ids) if self.alive else set()

    def under_way(self, instance_ids: Sequence[str]) -> dict[str, SentCommand]:
        return {instance_id: self.foreign[instance_id] for instance_id in instance_ids if instance_id in self.foreign}

    def tasks_of(self, sent: SentCommand) -> dict[str, str]:
        return {}

    def invocations(self, command_id: str, tasks: Collection[str], instance_id: str = "") -> dict[str, Invocation]:
        sent = next((command for command in self.commands if command.command_id == command_id), None)
        if sent is None:
            return dict.fromkeys(self.foreign, Invocation(CommandStatus.SUCCESS, "Success", ()))
        sent.polls += 1
        if sent.polls == self.interrupt_at:
            raise KeyboardInterrupt
        if sent.polls <= self.unknown_polls:
            return {}
        return {member_id: self._invocation(sent, member_id) for member_id in sent.targets.instance_ids}

    def _invocation(self, sent: Sent, instance_id: str) -> Invocation:
        ended = sent.polls > self.watched
        steps = tuple(self._steps(sent, instance_id, ended))
        failed = any(step.state is StepState.FAILED for step in steps)
        status = (CommandStatus.FAILED if failed else CommandStatus.SUCCESS) if ended else CommandStatus.IN_PROGRESS
        return Invocation(status, status.value, steps)

    def _steps(self, sent: Sent, instance_id: str, ended: bool) -> Iterator[StepStatus]:
        """The first step is done while the command still runs; the others end with it."""
        stopped = False
        for number, task in enumerate(sent.request.tasks):
            state = StepState.DONE  # as SSM reports a step that was skipped
            if not stopped and number > 0 and not ended:
                state = StepState.RUNNING if number == 1 else StepState.WAITING
            elif not stopped and {task.id, (instance_id, task.id)} & self.fails:
                state, stopped = StepState.FAILED, not task.optional
            yield StepStatus(task.id, state, 1 if state is StepState.FAILED else 0, 0.1, f"{task.id} is well")

    def output(self, command_id: str, instance_id: str, task: str, *, is_only: bool) -> StepOutput:
        return StepOutput(7, "some output\n", f"{task} is broken\n")


class Recorder:
    """A monitor that records its calls."""

    def __init__(self) -> None:
        self.plans: list[dict[str, Plan]] = []
        self.commands: list[tuple[str, bool]] = []
        self.notes: list[str] = []
        self.outcomes: dict[str, Outcome] = {}
        self.states: dict[tuple[str, str], StepState] = {}

    def planned(self, plans: Any) -> None:
        self.plans.append(dict(plans))

    def sent(self, command_id: str, instance_ids: Sequence[str], *, attached: bool) -> None:
        self.commands.append((command_id, attached))

    def progress(self, instance_id: str, steps: Sequence[StepStatus]) -> None:
        self.states.update({(instance_id, step.task): step.state for step in steps})

    def note(self, text: str) -> None:
        self.notes.append(text)

    def ended(self, outcome: Outcome) -> None:
        self.outcomes[outcome.instance_id] = outcome
