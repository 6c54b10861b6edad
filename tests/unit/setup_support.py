"""Task files written on the spot, and a Run Command that a test scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchneuron.setup import definition
from torchneuron.setup.commands import CommandStatus, StepOutput, StepStatus
from torchneuron.setup.document import Document
from torchneuron.setup.plan import Plan
from torchneuron.setup.render import RenderedTask, render


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


class FakeCommands:
    """Run Command that ends each step as `fails` says, and remembers what it was asked.

    `watched` polls pass before a command has ended; the process "dies" (KeyboardInterrupt) at the
    poll numbered `interrupt_at`.
    """

    def __init__(self, fails: Sequence[str] = (), *, watched: int = 1, interrupt_at: int | None = None) -> None:
        self.fails = set(fails)
        self.watched = watched
        self.interrupt_at = interrupt_at
        self.sent: list[Document] = []
        self.polls = 0
        self.foreign: tuple[str, str] | None = None
        self.alive = True
        self.unknown_polls = 0

    def ensure_document(self, document: Document) -> None:
        pass

    def send(self, document: Document) -> str:
        self.sent.append(document)
        self.polls = 0
        return f"command-{len(self.sent)}"

    def reached(self) -> bool:
        return self.alive

    def under_way(self) -> tuple[str, str] | None:
        return self.foreign

    def status(self, command_id: str) -> CommandStatus | None:
        self.polls += 1
        if self.polls == self.interrupt_at:
            raise KeyboardInterrupt
        if self.polls <= self.unknown_polls:
            return None
        if not self.sent:
            return CommandStatus(command_id, "Success", "Success", ())
        ended = self.polls > self.watched
        steps = tuple(self._steps(self.sent[-1], ended))
        failed = any(step.status == "Failed" for step in steps)
        status = ("Failed" if failed else "Success") if ended else "InProgress"
        return CommandStatus(command_id, status, status, steps)

    def _steps(self, document: Document, ended: bool) -> list[StepStatus]:
        """The first step is finished while the command still runs; the others wait for its end."""
        steps, stopped = [], False
        for number, one in enumerate(document.tasks):
            if stopped:
                status = "Success"  # as SSM reports a step that was skipped
            elif number > 0 and not ended:
                status = "InProgress" if number == 1 else "Pending"
            else:
                status = "Failed" if one.id in self.fails else "Success"
                stopped = status == "Failed"
            steps.append(StepStatus(one.id, status, 1 if status == "Failed" else 0, 0.1, ""))
        return steps

    def output(self, command_id: str, task: str) -> StepOutput:
        return StepOutput(7, "some output\n", f"{task} is broken\n")


class Recorder:
    """A monitor that keeps what it is told."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.commands: list[tuple[str, bool]] = []

    def planned(self, plan: Plan) -> None:
        self.plans.append(plan)

    def sent(self, command_id: str, *, attached: bool) -> None:
        self.commands.append((command_id, attached))

    def progress(self, steps: Sequence[StepStatus]) -> None:
        pass
