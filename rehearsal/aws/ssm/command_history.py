"""Run Command's history in a folder: what is known of each command and invocation, for the next rehearsal to take up.

A file is written anew, and put in place by a rename, whenever what it holds has changed and before anybody can see
that. It is JSON, as long as what SSM keeps of a step's output.
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

from rehearsal.aws.ssm.agent import STDERR_KEPT, STDOUT_KEPT, StepRecord, cut
from rehearsal.aws.ssm.documents import Step
from rehearsal.aws.ssm.invocations import Command, Invocation, Request, Seen
from rehearsal.whole_files import write_whole

_COMMAND = "command.json"


class CommandHistory:
    """The folder of one AWS's commands; with none, nothing is kept. Not safe to use from several threads at once."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._closed = False

    def close(self) -> None:
        """Keep what is kept as it is, whatever happens now."""
        self._closed = True

    def begin(self, command: Command) -> None:
        """Keep a new command. What is kept of one that is not all there yet is ignored."""
        if self._folder is None or self._closed:
            return
        (self._folder / command.command_id).mkdir(mode=0o700)
        for invocation in command.invocations:
            self.note(command, invocation)
        self.note_command(command)

    def note_command(self, command: Command) -> None:
        """Keep what is now known of the command itself."""
        kept = {
            "request": asdict(command.request),
            "requested": command.requested,
            "sent": command.sent,
            "cancelled": command.cancelled,
        }
        self._write(command.command_id, _COMMAND, kept)

    def note(self, command: Command, invocation: Invocation) -> None:
        """Keep what is now known of one of its invocations."""
        kept = {
            "requested": invocation.requested,
            "visible_at": invocation.visible_at,
            "now": _plain(invocation.now),
            "cancelling": invocation.cancelling,
            "unsent": _plain(invocation.unsent) if invocation.unsent else None,
        }
        self._write(command.command_id, f"{invocation.instance_id}.json", kept)

    def read(self) -> list[Command]:
        """All that is kept, the oldest first."""
        found = [] if self._folder is None else list(self._folder.glob(f"*/{_COMMAND}"))
        return sorted((_command(file.parent) for file in found), key=lambda one: one.requested)

    def clear(self) -> None:
        for folder in self._folder.iterdir() if self._folder is not None else ():
            shutil.rmtree(folder)

    def _write(self, command_id: str, name: str, content: Mapping[str, Any]) -> None:
        if self._folder is None or self._closed:
            return
        write_whole(self._folder / command_id / name, json.dumps(content, default=datetime.isoformat).encode())


def _plain(seen: Seen) -> dict[str, Any]:
    records = [
        {**asdict(one), "stdout": cut(one.stdout, STDOUT_KEPT), "stderr": cut(one.stderr, STDERR_KEPT)}
        for one in seen.records
    ]
    return {"status": seen.status, "details": seen.details, "records": records}


def _command(folder: Path) -> Command:
    kept = json.loads((folder / _COMMAND).read_text())
    request = Request(**{**kept["request"], "steps": tuple(Step(**one) for one in kept["request"]["steps"])})
    invocations = [_invocation(one, json.loads((folder / f"{one}.json").read_text())) for one in request.instance_ids]
    requested, sent = (datetime.fromisoformat(kept[name]) for name in ("requested", "sent"))
    return Command(folder.name, request, requested, sent, invocations, cancelled=kept["cancelled"])


def _invocation(instance_id: str, kept: Mapping[str, Any]) -> Invocation:
    return Invocation(
        instance_id,
        datetime.fromisoformat(kept["requested"]),
        datetime.fromisoformat(kept["visible_at"]),
        [(time.monotonic(), _seen(kept["now"]))],
        cancelling=kept["cancelling"],
        unsent=_seen(kept["unsent"]) if kept["unsent"] else None,
    )


def _seen(kept: Mapping[str, Any]) -> Seen:
    return Seen(kept["status"], kept["details"], tuple(_record(one) for one in kept["records"]))


def _record(kept: Mapping[str, Any]) -> StepRecord:
    times = {name: datetime.fromisoformat(kept[name]) if kept[name] else None for name in ("started", "ended")}
    return StepRecord(**{**kept, **times})
