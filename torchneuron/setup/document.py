"""Pending tasks compiled into SSM Command documents: one step a task, stopped by the first failure.

Rules from the Systems Manager user guide and the SSM API reference: schema 2.2, a document is at
most 64 KB, its name matches [a-zA-Z0-9_.-]{3,128}, a step's name is letters, digits, _ and -.
`onFailure` belongs to a step's *inputs*: the agent looks for it there and nowhere else
(amazon-ssm-agent, agent/framework/runpluginutil/runpluginutil.go).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torchneuron.errors import InputError
from torchneuron.setup.render import RenderedTask

NAME_PREFIX = "torchneuron-setup-"
MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class Document:
    """A Command document. Its name is made from its content: the same tasks make the same document."""

    name: str
    content: str
    tasks: tuple[RenderedTask, ...]


def compile_documents(tasks: Sequence[RenderedTask]) -> tuple[Document, ...]:
    """Documents that run `tasks` in order, as few as the size limit allows.

    Raises InputError when one task alone is too large for a document.
    """
    documents: list[Document] = []
    batch: list[RenderedTask] = []
    for task in tasks:
        if batch and len(_content([*batch, task]).encode()) > MAX_BYTES:
            documents.append(_document(batch))
            batch = []
        batch.append(task)
        if len(_content(batch).encode()) > MAX_BYTES:
            raise InputError(
                f"Task {task.id} is larger than an SSM document may be ({MAX_BYTES // 1024} KB).",
                do="Split it, or have it fetch what it needs.",
            )
    if batch:
        documents.append(_document(batch))
    return tuple(documents)


def _document(tasks: Sequence[RenderedTask]) -> Document:
    content = _content(tasks)
    return Document(NAME_PREFIX + hashlib.sha256(content.encode()).hexdigest()[:16], content, tuple(tasks))


def _content(tasks: Sequence[RenderedTask]) -> str:
    body: dict[str, Any] = {
        "schemaVersion": "2.2",
        "description": "Made by torchneuron from a task file; named by its content.",
        "mainSteps": [_step(task, after) for task, after in zip(tasks, (None, *tasks), strict=False)],
    }
    return json.dumps(body, separators=(",", ":"))


def _step(task: RenderedTask, after: RenderedTask | None) -> dict[str, Any]:
    return {
        "action": "aws:runShellScript",
        "name": task.id,
        "inputs": {
            "runCommand": task.script(after=after).rstrip("\n").split("\n"),
            "timeoutSeconds": str(task.timeout_seconds),
            "onFailure": "exit",
        },
    }
