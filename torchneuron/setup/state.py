"""What is finished on which machine: `task-state-{instance-id}.json`, kept between runs.

Written whole after every change, held by one run at a time, and set aside, never trusted or
deleted, when it cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from torchneuron.core import display, files, locks
from torchneuron.core.errors import SetupError

_VERSION = 1


@dataclass(frozen=True)
class Finished:
    """A finished task: the digest it had, the SSM command that ran it, and when it ended (UTC, ISO)."""

    digest: str
    command_id: str
    at: str


@dataclass(frozen=True)
class Running:
    """A command that was sent and is not known to have ended. `tasks` maps its task ids to digests."""

    command_id: str
    document: str
    tasks: Mapping[str, str]


@dataclass(frozen=True)
class State:
    finished: Mapping[str, Finished] = field(default_factory=dict)
    running: Running | None = None

    @property
    def digests(self) -> dict[str, str]:
        """Finished task ids and the digests they finished with."""
        return {task: done.digest for task, done in self.finished.items()}

    def with_finished(self, task: str, digest: str, command_id: str) -> State:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return replace(self, finished={**self.finished, task: Finished(digest, command_id, now)})

    def with_running(self, running: Running | None) -> State:
        return replace(self, running=running)

    def without(self, tasks: Collection[str]) -> State:
        """The state once `tasks` are about to run again: what they finished before no longer counts."""
        return replace(self, finished={k: v for k, v in self.finished.items() if k not in tasks})


class StateStore:
    """The state file of one instance in `folder`."""

    def __init__(self, folder: Path, instance_id: str) -> None:
        self.path = folder / f"task-state-{instance_id}.json"
        self._instance_id = instance_id

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run on this machine out. Raises TorchNeuronError when one is under way."""
        with locks.held(self.path.with_suffix(".lock"), f"the setup of {self._instance_id}", seconds=0):
            yield

    def load(self) -> State:
        """The saved state; an empty one when there is none."""
        return self.find() or State()

    def find(self) -> State | None:
        """The saved state; None when there is none, or none that can be understood."""
        try:
            with files.using(self.path):
                text = self.path.read_text(encoding="utf-8") if self.path.exists() else None
            return None if text is None else _from_json(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError):
            self.set_aside("damaged", "cannot be read")
            return None

    def save(self, state: State) -> None:
        """Write the state. Raises SetupError when that fails: what the machine has begun goes on all the same."""
        text = json.dumps(_to_json(self._instance_id, state), indent=2) + "\n"
        consequence = f"What {self._instance_id} has begun goes on there."
        with files.using(self.path, consequence=consequence, kind=SetupError):
            files.write_atomically(self.path, text, mode=0o600)

    def set_aside(self, kind: str, why: str) -> None:
        """Rename the file, so that the next `find` returns None, and say so. `why` completes "The state file … "."""
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        aside = self.path.with_suffix(f".{kind}-{stamp}")
        self.path.replace(aside)
        display.warn(
            f"The state file {self.path.name} {why}. It is kept as {aside.name}; the machine says what is finished."
        )


def _to_json(instance_id: str, state: State) -> dict[str, Any]:
    running = state.running
    return {
        "version": _VERSION,
        "instanceId": instance_id,
        "finished": {
            task: {"digest": done.digest, "commandId": done.command_id, "at": done.at}
            for task, done in state.finished.items()
        },
        "running": running
        and {"commandId": running.command_id, "document": running.document, "tasks": dict(running.tasks)},
    }


def _from_json(document: Mapping[str, Any]) -> State:
    if document["version"] != _VERSION:
        raise ValueError(f"state version {document['version']}")
    running = document["running"]
    return State(
        finished={
            task: Finished(*(_text(done[name]) for name in ("digest", "commandId", "at")))
            for task, done in document["finished"].items()
        },
        running=running
        and Running(
            _text(running["commandId"]),
            _text(running["document"]),
            {task: _text(digest) for task, digest in running["tasks"].items()},
        ),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value
