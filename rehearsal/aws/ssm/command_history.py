"""Run Command's history on disk, from which the next rehearsal with the same state folder resumes.

Each command and invocation has a JSON file, which is replaced atomically on every change, before the change is visible
to clients. Output is truncated as in SSM.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rehearsal.atomic_files import write_atomically
from rehearsal.aws.ssm.agent import MAX_STDERR, MAX_STDOUT, StepRecord, truncate
from rehearsal.aws.ssm.documents import Step
from rehearsal.aws.ssm.invocations import Command, Invocation, InvocationState, Request

_COMMAND = "command.json"


class CommandHistory:
    """The folder of one AWS's commands; without a folder, nothing is written. Not thread-safe."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._closed = False

    def close(self) -> None:
        """Write nothing from now on."""
        self._closed = True

    def add(self, command: Command) -> None:
        """Write a new command; `read` ignores one that is not complete."""
        if self._folder is None or self._closed:
            return
        (self._folder / command.command_id).mkdir(mode=0o700)
        for invocation in command.invocations:
            self.update(command, invocation)
        self.update_command(command)

    def update_command(self, command: Command) -> None:
        """Write the command without its invocations."""
        content = {
            "request": asdict(command.request),
            "requested": command.requested,
            "sent": command.sent,
            "cancelled": command.cancelled,
        }
        self._write(command.command_id, _COMMAND, content)

    def update(self, command: Command, invocation: Invocation) -> None:
        """Write one of the command's invocations."""
        content = {
            "requested": invocation.requested,
            "visible_at": invocation.visible_at,
            "state": _to_json(invocation.state),
            "cancelling": invocation.cancelling,
            "unsent": _to_json(invocation.unsent) if invocation.unsent else None,
        }
        self._write(command.command_id, f"{invocation.instance_id}.json", content)

    def read(self) -> list[Command]:
        """All commands, oldest first."""
        files = [] if self._folder is None else list(self._folder.glob(f"*/{_COMMAND}"))
        return sorted((_command(file.parent) for file in files), key=lambda command: command.requested)

    def clear(self) -> None:
        for folder in self._folder.iterdir() if self._folder is not None else ():
            shutil.rmtree(folder)

    def _write(self, command_id: str, name: str, content: Mapping[str, Any]) -> None:
        if self._folder is None or self._closed:
            return
        write_atomically(self._folder / command_id / name, json.dumps(content, default=datetime.isoformat).encode())


def _to_json(state: InvocationState) -> dict[str, Any]:
    records = [
        {
            **asdict(record),
            "stdout": truncate(record.stdout, MAX_STDOUT),
            "stderr": truncate(record.stderr, MAX_STDERR),
        }
        for record in state.records
    ]
    return {"status": state.status, "details": state.details, "records": records}


def _command(folder: Path) -> Command:
    content = json.loads((folder / _COMMAND).read_text())
    steps = tuple(Step(**step) for step in content["request"]["steps"])
    request = Request(**{**content["request"], "steps": steps})
    invocations = [
        _invocation(instance_id, json.loads((folder / f"{instance_id}.json").read_text()))
        for instance_id in request.instance_ids
    ]
    requested, sent = (datetime.fromisoformat(content[name]) for name in ("requested", "sent"))
    return Command(folder.name, request, requested, sent, invocations, cancelled=content["cancelled"])


def _invocation(instance_id: str, content: Mapping[str, Any]) -> Invocation:
    return Invocation(
        instance_id,
        datetime.fromisoformat(content["requested"]),
        datetime.fromisoformat(content["visible_at"]),
        [(time.monotonic(), _state(content["state"]))],
        cancelling=content["cancelling"],
        unsent=_state(content["unsent"]) if content["unsent"] else None,
    )


def _state(content: Mapping[str, Any]) -> InvocationState:
    return InvocationState(
        content["status"], content["details"], tuple(_record(record) for record in content["records"])
    )


def _record(content: Mapping[str, Any]) -> StepRecord:
    times = {name: datetime.fromisoformat(content[name]) if content[name] else None for name in ("started", "ended")}
    return StepRecord(**{**content, **times})
