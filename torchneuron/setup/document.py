"""Compile a plan into requests for SendCommand: documents with many steps, or a command for each task. Pure.

Rules of the Systems Manager user guide and the SSM API reference: schema 2.2; a document has at most 64 KB, which
include the values of parameters (botocore's model, CreateDocument.Content); its name matches [a-zA-Z0-9_.-]{3,128};
a step's name consists of letters, digits, _ and -. The agent reads `onFailure` from a step's *inputs* only
(amazon-ssm-agent, agent/framework/runpluginutil/runpluginutil.go).

The parameter `Tasks` of the command names its tasks, for whoever attaches to a run or reads the history: the document
is deleted when the run ends.
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
"""Parameter of setup documents: the tasks with their digests, as `ID=DIGEST`. No step uses it."""
RUN_SHELL_SCRIPT = "AWS-RunShellScript"
MAX_BYTES = 64 * 1024
# Reserved for AWS-RunShellScript itself, which has about 1,300 bytes and may grow.
_RUN_SHELL_SCRIPT_BYTES = 4096

DOCUMENT, STEP, AUTO = "document", "step", "auto"
MODES = (AUTO, DOCUMENT, STEP)
"""One document for a run, or an AWS-RunShellScript command for each task. `auto`: document where that is allowed."""


@dataclass(frozen=True)
class Document:
    """A document for SendCommand. `hash` is the SHA-256 of its content; an empty version or hash is not checked."""

    name: str
    version: str = ""
    hash: str = ""

    def as_arguments(self) -> dict[str, Any]:
        """The arguments of SendCommand."""
        hashed = {"DocumentHash": self.hash, "DocumentHashType": "Sha256"} if self.hash else {}
        return {"DocumentName": self.name, **({"DocumentVersion": self.version} if self.version else {}), **hashed}


AMAZONS = Document(RUN_SHELL_SCRIPT)


@dataclass(frozen=True)
class Request:
    """A request for SendCommand. `content` is that of the document to create; None for AWS-RunShellScript."""

    content: str | None
    tasks: tuple[RenderedTask, ...]
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict)


def compile_plan(plan: Plan, mode: str) -> tuple[Request, ...]:
    """Requests that run the pending tasks of a plan, in order: as few as the document size allows, or one a task.

    Raises InputError, naming all of them, for tasks that do not fit into a document.
    """
    scripts = plan.scripts()
    _check_sizes(scripts, mode)
    if mode == STEP:
        return tuple(_shell_script(task, script) for task, script in scripts)
    requests: list[Request] = []
    batch: list[tuple[RenderedTask, str]] = []
    for entry in scripts:
        if batch and _size([*batch, entry]) > MAX_BYTES:
            requests.append(_document(batch))
            batch = []
        batch.append(entry)
    return (*requests, _document(batch)) if batch else ()


def identities(parameters: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Ids and digests of a command's tasks, from its parameters; empty for a command that is not a setup."""
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
            f"A task is larger than the limit for an SSM document ({MAX_BYTES // 1024} KB).",
            why="\n".join(large),
            do="Split the task, or let it download what it needs.",
        )


def _size_as_document(task: RenderedTask, script: str) -> int:
    return _size([(task, script)])


def _size(batch: Sequence[tuple[RenderedTask, str]]) -> int:
    values = _tasks_parameter([task for task, _ in batch])
    return len(_content(batch).encode()) + sum(len(value.encode()) for value in values)


def _size_as_parameters(task: RenderedTask, script: str) -> int:
    """Parameter values count toward the size of the document."""
    values = (value for values in _shell_script(task, script).parameters.values() for value in values)
    return _RUN_SHELL_SCRIPT_BYTES + sum(len(value.encode()) for value in values)


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
        "description": "Created by torchneuron from a task file, for one run.",
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
