"""Drives SSM through a plan: send once, watch, remember every step, take up what is under way.

The run itself goes on the instance; this side only watches. So whatever stops the watching
(Ctrl-C, a lost network, a closed laptop) loses nothing: the command id is in the state file before
anything waits on it, and the next `invoke setup` attaches to the command or starts behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torchneuron.errors import Detached, SetupError
from torchneuron.setup.commands import Commands, CommandStatus, StepStatus
from torchneuron.setup.document import Document, compile_documents
from torchneuron.setup.plan import Plan, make_plan
from torchneuron.setup.render import RenderedTask
from torchneuron.setup.state import Running, State, StateStore

_POLL_SECONDS = 1.0
# SSM may take a moment to know a command it has just accepted.
_UNKNOWN_SECONDS = 30.0
# With no step coming or going for so long, the machine itself is asked after; a reboot takes less than the second.
_QUIET_SECONDS = 60.0
_LOST_SECONDS = 300.0
_SHOWN_OUTPUT_LINES = 20
_STOPPED = ("Failed", "TimedOut", "Cancelled")
_AGENTS_OWN = ("failed to run commands: exit status", "Step was found to have onFailure property")


class Monitor(Protocol):
    """What a run tells while it goes on. `report` has one for terminals and one for logs; tests record."""

    def planned(self, plan: Plan) -> None: ...

    def sent(self, command_id: str, *, attached: bool) -> None: ...

    def progress(self, steps: Sequence[StepStatus]) -> None: ...


class Silence:
    """Tells a long step from a machine that is gone: SSM calls a command InProgress for ever in both cases."""

    def __init__(self, clock: Callable[[], float], reached: Callable[[], bool]) -> None:
        self._clock = clock
        self._reached = reached
        self._last_words: tuple[tuple[str, str], ...] = ()
        self._asked_at = self._reached_at = clock()

    def is_final(self, status: CommandStatus) -> bool:
        """Whether the machine has been out of reach for too long to be waited for."""
        now, words = self._clock(), tuple((step.task, step.status) for step in status.steps)
        if words != self._last_words or status.ended:
            self._last_words = words
            self._asked_at = self._reached_at = now
        elif now - self._asked_at > _QUIET_SECONDS:
            self._asked_at = now
            if self._reached():
                self._reached_at = now
        return now - self._reached_at > _LOST_SECONDS and self._asked_at == now


@dataclass(frozen=True)
class Outcome:
    """A run that reached its end: what ran now, what was skipped, and the seconds it all took."""

    ran: tuple[str, ...]
    skipped: tuple[str, ...]
    seconds: float


class Runner:
    """Runs plans on one instance. `again` is the command line that resumes, for messages."""

    def __init__(
        self,
        commands: Commands,
        store: StateStore,
        monitor: Monitor,
        *,
        instance_id: str,
        region: str,
        again: str,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commands = commands
        self._store = store
        self._monitor = monitor
        self._instance_id = instance_id
        self._region = region
        self._again = again
        self._sleep = sleep
        self._clock = clock

    def run(self, tasks: Sequence[RenderedTask], *, start_from: str | None = None, clean: bool = False) -> Outcome:
        """Run what of `tasks` is not finished, and return once it all is.

        Raises SetupError at the first task that fails, InputError for a `start_from` that names no task.
        """
        begun = time.monotonic()
        with self._store.locked():
            self._take_up()
            state = State() if clean else self._store.load()
            plan = make_plan(tasks, state.digests, start_from=start_from)
            documents = compile_documents(plan.pending)
            self._store.save(state.without({task.id: task.digest for task in plan.pending}))
            self._monitor.planned(plan)
            for document in documents:
                self._run_document(document)
        return Outcome(
            ran=tuple(task.id for task in plan.pending),
            skipped=tuple(step.task.id for step in plan.steps if not step.runs),
            seconds=time.monotonic() - begun,
        )

    def _take_up(self) -> None:
        """Watch a command that an earlier run left under way to its end, so that two never interleave.

        One that fails meanwhile is told as a failure; running again is then the person's decision.
        """
        running = self._store.load().running
        if running is None:
            found = self._commands.under_way()
            if found is None:
                return
            # Sent by someone whose state is not here: its tasks' digests are not known, so none count.
            running = Running(found[0], found[1], {})
        self._monitor.sent(running.command_id, attached=True)
        status = self._watch(running)
        if status is not None and status.status != "Success":
            raise self._failure(running, status)

    def _run_document(self, document: Document) -> None:
        self._commands.ensure_document(document)
        running = Running(
            self._commands.send(document), document.name, {task.id: task.digest for task in document.tasks}
        )
        self._store.save(replace(self._store.load(), running=running))
        self._monitor.sent(running.command_id, attached=False)
        status = self._watch(running)
        if status is None or status.status != "Success":
            raise self._failure(running, status)

    def _watch(self, running: Running) -> CommandStatus | None:
        """Follow the command to its end. Ctrl-C ends the following only: Detached is raised."""
        try:
            return self._follow(running)
        except KeyboardInterrupt:
            raise Detached(
                f"Stopped watching; the setup goes on, on {self._instance_id}.",
                do=f"To watch it again: {self._again}",
            ) from None

    def _follow(self, running: Running) -> CommandStatus | None:
        """Poll until the command has ended, remembering each step that succeeds. None if SSM does not know it."""
        begun = self._clock()
        silence = Silence(self._clock, self._commands.reached)
        while True:
            status = self._commands.status(running.command_id)
            if status is None:
                if self._clock() - begun > _UNKNOWN_SECONDS:
                    self._remember(running, (), over=True)
                    return None
            else:
                if silence.is_final(status):
                    raise self._lost(running)
                status = replace(status, steps=in_order(status.steps, list(running.tasks)))
                self._monitor.progress(status.steps)
                self._remember(running, status.steps, over=status.ended)
                if status.ended:
                    return status
            self._sleep(_POLL_SECONDS)

    def _lost(self, running: Running) -> SetupError:
        return SetupError(
            f"Systems Manager has lost {self._instance_id} in the middle of the setup.",
            why="Nothing has been heard of it for minutes: it was stopped or terminated (a Capacity Block's "
            f"instances are, before its end), or its agent died. SSM command {running.command_id}.",
            do=f"If the machine comes back, so does its setup: {self._again}",
        )

    def _remember(self, running: Running, steps: Sequence[StepStatus], *, over: bool) -> None:
        before = self._store.load()
        state = replace(before, running=None if over else running)
        for step in steps:
            digest = running.tasks.get(step.task)
            if step.succeeded and digest and state.digests.get(step.task) != digest:
                state = state.with_finished(step.task, digest, running.command_id)
        if state != before:
            self._store.save(state)

    def _failure(self, running: Running, status: CommandStatus | None) -> SetupError:
        if status is None:
            return SetupError(
                f"SSM does not know the command {running.command_id} it accepted.",
                why="It was lost on its way; the agent may have been updating itself.",
                do=f"Run it again: {self._again}",
            )
        failed = _first_failed(status.steps)
        if failed is None:
            return SetupError(
                f"The setup was not carried out on {self._instance_id}: {status.details or status.status}.",
                why=f"SSM command {status.command_id}.",
                do=f"Run it again: {self._again}",
            )
        return self._failed_task(status.command_id, failed)

    def _failed_task(self, command_id: str, failed: StepStatus) -> SetupError:
        output = self._commands.output(command_id, failed.task)
        ended = "ran out of time" if failed.status == "TimedOut" else f"failed with status {output.exit_code}"
        told = _tail(output.stderr) or _tail(output.stdout) or "It wrote nothing."
        see = (
            f"aws ssm get-command-invocation --region {self._region} --command-id {command_id} "
            f"--instance-id {self._instance_id} --plugin-name {failed.task}"
        )
        return SetupError(
            f"Task {failed.task} {ended} on {self._instance_id}.",
            why=f"{told}\nSSM command {command_id}; the whole output: {see}",
            do=f"Once it is mended, this takes up at {failed.task}: {self._again}",
        )


def pending_scripts(plan: Plan) -> Mapping[str, str]:
    """What a run of `plan` would send, task id to script with the secrets masked: a dry run's content."""
    return {
        task.id: task.script(after=after, masked=True)
        for document in compile_documents(plan.pending)
        for task, after in zip(document.tasks, (None, *document.tasks), strict=False)
    }


def in_order(steps: Sequence[StepStatus], order: Sequence[str]) -> tuple[StepStatus, ...]:
    """`steps` in the document's order, everything after the first failure marked as not run.

    SSM reports a step that the agent skipped after a failure as a success, with exit code 0
    (amazon-ssm-agent, agent/framework/runpluginutil/runpluginutil.go).
    """
    places = {name: place for place, name in enumerate(order)}
    arranged, failed = [], False
    for step in sorted(steps, key=lambda step: places.get(step.task, len(places))):
        arranged.append(replace(step, status="Skipped", seconds=None, last_line="") if failed else step)
        failed = failed or step.status in _STOPPED
    return tuple(arranged)


def _first_failed(steps: Sequence[StepStatus]) -> StepStatus | None:
    return next((step for step in steps if step.status in _STOPPED), None)


def _tail(text: str) -> str:
    """The end of what a step wrote, without what the agent adds to it."""
    lines = [line for line in text.rstrip().splitlines() if line.strip() and not line.startswith(_AGENTS_OWN)]
    return "\n".join(lines[-_SHOWN_OUTPUT_LINES:])
