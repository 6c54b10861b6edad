"""Which tasks have finished on which machine: kept in `task-state-{instance-id}.json`, or rebuilt from SSM's history.

The file is written whole after every change and held by one run at a time. A file that cannot be read is renamed: it is
neither trusted nor deleted.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass

from torchneuron.core import display, files, locks
from torchneuron.core.errors import SetupError
from torchneuron.setup.render import RenderedTask
from torchneuron.setup.run_command import RunCommand, SentCommand
from torchneuron.setup.steps import in_order

_FORMAT = ConfigDict(strict=True, alias_generator=to_camel, populate_by_name=True)
# What SSM no longer lists (it keeps commands for 30 days), the machine's own marks cover: see `run-task.sh`.
_MAX_COMMANDS = 20


@dataclass(frozen=True, config=_FORMAT)
class Finished:
    """A finished task: its digest, the SSM command that ran it, and when it ended (UTC, ISO 8601)."""

    digest: str
    command_id: str
    at: str


@dataclass(frozen=True, config=_FORMAT)
class Running:
    """A command that was sent and is not known to have ended. `tasks` maps its task ids to their digests."""

    command_id: str
    document: str
    tasks: Mapping[str, str]


@dataclass(frozen=True, config=_FORMAT)
class State:
    """Finished tasks by id, and the command under way, if any."""

    finished: Mapping[str, Finished] = field(default_factory=dict)
    running: Running | None = None

    @property
    def digests(self) -> dict[str, str]:
        """The ids of finished tasks and the digests they finished with."""
        return {task: finished.digest for task, finished in self.finished.items()}

    def with_finished(self, task: str, digest: str, command_id: str) -> State:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return replace(self, finished={**self.finished, task: Finished(digest, command_id, now)})

    def with_running(self, running: Running | None) -> State:
        return replace(self, running=running)

    def without(self, tasks: Collection[str]) -> State:
        """The state without `tasks`, which are about to run again."""
        return replace(self, finished={k: v for k, v in self.finished.items() if k not in tasks})


@dataclass(frozen=True, config=_FORMAT)
class _StateFile:
    version: Literal[1]
    finished: Mapping[str, Finished]
    running: Running | None
    instance_id: str = ""


_STATE_FILE = TypeAdapter(_StateFile)


class StateStore:
    """The state file of one instance in `folder`."""

    def __init__(self, folder: Path, instance_id: str) -> None:
        self.path = folder / f"task-state-{instance_id}.json"
        self._instance_id = instance_id

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude other runs on this machine. Raises TorchNeuronError if one is under way."""
        with locks.held(self.path.with_suffix(".lock"), f"the setup of {self._instance_id}", seconds=0):
            yield

    def load(self) -> State:
        """The saved state, or an empty one."""
        return self.find() or State()

    def find(self) -> State | None:
        """The saved state. None if there is no file; a damaged file is renamed, and None as well."""
        try:
            with files.using(self.path):
                text = self.path.read_text(encoding="utf-8") if self.path.exists() else None
            if text is None:
                return None
            content = _STATE_FILE.validate_json(text)
        except ValueError:
            self.set_aside("damaged", "cannot be read")
            return None
        return State(content.finished, content.running)

    def save(self, state: State) -> None:
        """Write the state. Raises SetupError if that fails, which does not stop what runs on the machine."""
        content = _StateFile(1, state.finished, state.running, self._instance_id)
        text = _STATE_FILE.dump_json(content, indent=2, by_alias=True).decode() + "\n"
        consequence = f"What {self._instance_id} has begun goes on there."
        with files.using(self.path, consequence=consequence, kind=SetupError):
            files.write_atomically(self.path, text, mode=0o600)

    def set_aside(self, kind: str, why: str) -> None:
        """Rename the file with a warning, so that the next `find` returns None. `why` follows "The state file … "."""
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        aside = self.path.with_suffix(f".{kind}-{stamp}")
        self.path.replace(aside)
        display.warn(
            f"The state file {self.path.name} {why}. It was renamed to {aside.name}; the machine itself knows what has"
            " finished."
        )


def rebuild(run_command: RunCommand, instance_id: str, tasks: Sequence[RenderedTask]) -> State:
    """The state of `tasks` on an instance according to its latest commands, for a laptop that has no state file."""
    state = State()
    newest_first = list(itertools.islice(run_command.history(instance_id), _MAX_COMMANDS))
    for command in reversed(newest_first):
        sent = SentCommand(command["CommandId"], command["DocumentName"])
        state = _replay(state, run_command, sent, instance_id, tasks)
    return state


def _replay(
    state: State, run_command: RunCommand, sent: SentCommand, instance_id: str, tasks: Sequence[RenderedTask]
) -> State:
    """The state after one more command: for the tasks that it ran, its results replace earlier ones."""
    digests = run_command.tasks_of(sent)
    invocation = run_command.invocations(sent.command_id, digests, instance_id).get(instance_id)
    if invocation is None or not digests:
        return state
    steps = in_order(invocation.steps, list(digests), {task.id for task in tasks if task.optional})
    state = state.without([step.task for step in steps if step.state.is_terminal])
    known = {task.id for task in tasks} & digests.keys()
    for step in steps:
        if step.state.succeeded and step.task in known:
            state = state.with_finished(step.task, digests[step.task], sent.command_id)
    if invocation.status.is_terminal:
        return state
    return state.with_running(Running(sent.command_id, sent.document, digests))
