"""A plan compiled into what SendCommand is asked: documents of many steps, or a command for each task.

Rules from the Systems Manager user guide and the SSM API reference: schema 2.2, a document is at
most 64 KB, its name matches [a-zA-Z0-9_.-]{3,128}, a step's name is letters, digits, _ and -.
`onFailure` belongs to a step's *inputs*: the agent looks for it there and nowhere else
(amazon-ssm-agent, agent/framework/runpluginutil/runpluginutil.go). Of the 64 KB the values given to parameters are a
part: botocore's model, CreateDocument.Content.

The command says itself which tasks it runs (`TASKS`): documents are deleted when their run has ended, and whoever
attaches to a run, or asks what has finished, reads the command.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torchneuron.core.errors import InputError
from torchneuron.setup.plan import Plan
from torchneuron.setup.render import RenderedTask, identify

NAME_PREFIX = "torchneuron-setup-"
TASKS = "Tasks"
"""The parameter of our documents that names the tasks and their digests, `ID=DIGEST` each. No step uses it."""
RUN_SHELL_SCRIPT = "AWS-RunShellScript"
MAX_BYTES = 64 * 1024
# Of AWS-RunShellScript there are some 1,300; what they are is Amazon's.
_AMAZONS_BYTES = 4096

DOCUMENT, STEP, AUTO = "document", "step", "auto"
MODES = (AUTO, DOCUMENT, STEP)
"""How a run is sent: as one document of its own, or one AWS-RunShellScript command a task. `auto`: as may be."""


@dataclass(frozen=True)
class Document:
    """A document as SendCommand names it: this version, if its content has this SHA-256. Empty: not checked."""

    name: str
    version: str = ""
    hash: str = ""

    def as_arguments(self) -> dict[str, Any]:
        """As SendCommand takes it."""
        hashed = {"DocumentHash": self.hash, "DocumentHashType": "Sha256"} if self.hash else {}
        return {"DocumentName": self.name, **({"DocumentVersion": self.version} if self.version else {}), **hashed}


AMAZONS = Document(RUN_SHELL_SCRIPT)


@dataclass(frozen=True)
class Request:
    """What one SendCommand asks. `content` is that of a document of ours, None for Amazon's."""

    content: str | None
    tasks: tuple[RenderedTask, ...]
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict)


def compile_plan(plan: Plan, mode: str) -> tuple[Request, ...]:
    """Requests that run what is pending in `plan`, in order: as few as the size of a document allows, or one a task.

    Raises InputError, naming them all, for tasks that are too large for a document.
    """
    scripts = plan.scripts()
    _check_sizes(scripts, mode)
    if mode == STEP:
        return tuple(_shell_script(task, script) for task, script in scripts)
    requests: list[Request] = []
    batch: list[tuple[RenderedTask, str]] = []
    for one in scripts:
        if batch and _size([*batch, one]) > MAX_BYTES:
            requests.append(_document(batch))
            batch = []
        batch.append(one)
    return (*requests, _document(batch)) if batch else ()


def identities(parameters: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The ids and digests of a command's tasks, by its parameters; none for a command that is not ours."""
    if TASKS in parameters:
        pairs = (entry.rpartition("=") for entry in parameters[TASKS])
        return {task: digest for task, _, digest in pairs if task}
    found = identify("\n".join(parameters.get("commands", [])))
    return dict([found]) if found else {}


def _check_sizes(scripts: Sequence[tuple[RenderedTask, str]], mode: str) -> None:
    size = _size_as_parameters if mode == STEP else _size_as_document
    sizes = {task.id: size(task, script) for task, script in scripts}
    if large := [f"  {task}: {size / 1024:.0f} KB" for task, size in sizes.items() if size > MAX_BYTES]:
        raise InputError(
            f"A task is larger than an SSM document may be ({MAX_BYTES // 1024} KB).",
            why="\n".join(large),
            do="Split it, or have it fetch what it needs.",
        )


def _size_as_document(task: RenderedTask, script: str) -> int:
    return _size([(task, script)])


def _size(batch: Sequence[tuple[RenderedTask, str]]) -> int:
    values = _tasks_parameter([task for task, _ in batch])
    return len(_content(batch).encode()) + sum(len(value.encode()) for value in values)


def _size_as_parameters(task: RenderedTask, script: str) -> int:
    """The values of parameters count with the document that they are for."""
    values = (value for values in _shell_script(task, script).parameters.values() for value in values)
    return _AMAZONS_BYTES + sum(len(value.encode()) for value in values)


def _shell_script(task: RenderedTask, script: str) -> Request:
    parameters = {"commands": _lines(script), "executionTimeout": [str(task.timeout_seconds)]}
    return Request(None, (task,), parameters)


def _document(batch: Sequence[tuple[RenderedTask, str]]) -> Request:
    tasks = tuple(task for task, _ in batch)
    return Request(_content(batch), tasks, {TASKS: _tasks_parameter(tasks)})


def _tasks_parameter(tasks: Sequence[RenderedTask]) -> list[str]:
    return [f"{task.id}={task.digest}" for task in tasks]


def _content(batch: Sequence[tuple[RenderedTask, str]]) -> str:
    body: dict[str, Any] = {
        "schemaVersion": "2.2",
        "description": "Made by torchneuron from a task file, for one run.",
        "parameters": {TASKS: {"type": "StringList", "description": "The tasks and their digests."}},
        "mainSteps": [_step(task, script) for task, script in batch],
    }
    return json.dumps(body, separators=(",", ":"))


def _step(task: RenderedTask, script: str) -> dict[str, Any]:
    inputs: dict[str, Any] = {"runCommand": _lines(script), "timeoutSeconds": str(task.timeout_seconds)}
    if not task.optional:
        inputs["onFailure"] = "exit"
    return {"action": "aws:runShellScript", "name": task.id, "inputs": inputs}


def _lines(script: str) -> list[str]:
    return script.rstrip("\n").split("\n")
