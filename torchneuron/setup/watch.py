"""Watch one command on its instances: display its progress, save what finishes, detect its end.

The command runs on the machines whether or not it is watched. On a machine that is gone it stays InProgress, so the
agent of a machine without news is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from torchneuron.setup.run_command import RunCommand
from torchneuron.setup.state import Running, StateStore
from torchneuron.setup.steps import CommandStatus, Invocation, Monitor, StepState, StepStatus, first_failed, in_order

Clock = Callable[[], float]
"""A monotonic clock, in seconds."""

# SSM may not list a command that it has just accepted.
UNKNOWN_SECONDS = 30.0
# Time without news after which the agent is checked, and time without contact after which the machine counts as lost.
# A reboot takes less.
QUIET_SECONDS = 60.0
LOST_SECONDS = 300.0


@dataclass(frozen=True)
class CommandResult:
    """How a command ended on an instance.

    `invocation` is None if SSM does not know the command; `lost` means that the machine is out of reach. `failed` is
    the step that stopped it, if any. `had_ended`: it had already ended at the first look. `before` are the tasks that
    had finished before.
    """

    running: Running
    invocation: Invocation | None = None
    lost: bool = False
    failed: StepStatus | None = None
    succeeded: bool = False
    had_ended: bool = False
    before: frozenset[str] = frozenset()

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled. SSM reports Failed instead if an optional step had failed before."""
        whole = self.invocation is not None and self.invocation.status is CommandStatus.CANCELLED
        return whole or (self.failed is not None and self.failed.state is StepState.CANCELLED)


@dataclass
class _LastSeen:
    """An instance at the last look: the states of its steps, and when its agent was checked and reached."""

    states: tuple[tuple[str, StepState], ...]
    checked_at: float
    reached_at: float


@dataclass
class Watch:
    """A command under way on the instances of `stores`. `optional` tasks may fail without stopping it."""

    run_command: RunCommand
    running: Running
    stores: Mapping[str, StateStore]
    optional: Collection[str]
    monitor: Monitor
    clock: Clock
    results: dict[str, CommandResult] = field(default_factory=dict)
    _seen: dict[str, _LastSeen] = field(default_factory=dict)
    _last_news: float = 0.0
    _looks: int = 0

    def __post_init__(self) -> None:
        self._last_news = self.clock()
        for instance_id in self.stores:
            self._seen[instance_id] = _LastSeen((), self._last_news, self._last_news)

    @property
    def is_over(self) -> bool:
        return len(self.results) == len(self.stores)

    @property
    def may_go_on(self) -> bool:
        """Whether it may still be delivered to an instance or run there."""
        return not self.is_over or any(result.lost for result in self.results.values())

    @property
    def _pending(self) -> list[str]:
        return [instance_id for instance_id in self.stores if instance_id not in self.results]

    def look(self) -> None:
        """Read the status once; display and save it."""
        self._looks += 1
        only = next(iter(self.stores)) if len(self.stores) == 1 else ""
        found = self.run_command.invocations(self.running.command_id, self.running.tasks, only)
        for instance_id in self._pending:
            if instance_id in found:
                self._update(instance_id, found[instance_id])
        self._give_up_unknown(found)
        self._check_quiet()

    def _update(self, instance_id: str, invocation: Invocation) -> None:
        steps = in_order(invocation.steps, list(self.running.tasks), self.optional)
        states = tuple((step.task, step.state) for step in steps)
        has_ended = invocation.status.is_terminal
        seen = self._seen[instance_id]
        if states != seen.states or has_ended:
            seen.states, seen.checked_at, seen.reached_at = states, self.clock(), self.clock()
        self.monitor.progress(instance_id, steps)
        self._save(instance_id, steps, has_ended=has_ended)
        if has_ended:
            self.results[instance_id] = self._result(invocation, steps)

    def _result(self, invocation: Invocation, steps: Sequence[StepStatus]) -> CommandResult:
        failed = first_failed(steps, self.optional)
        # If an optional step fails, SSM reports the whole command as failed.
        only_optional = bool(steps) and all(step.state.succeeded or step.task in self.optional for step in steps)
        return CommandResult(
            self.running,
            invocation,
            failed=failed,
            succeeded=failed is None and (invocation.status is CommandStatus.SUCCESS or only_optional),
            had_ended=self._looks == 1,
            before=frozenset(step.task for step in steps if step.state is StepState.FINISHED_BEFORE),
        )

    def _give_up_unknown(self, found: Mapping[str, Invocation]) -> None:
        """End it where SSM does not list it long after accepting it, unless it is under way on another instance."""
        missing = [instance_id for instance_id in self._pending if instance_id not in found]
        if not missing or any(instance_id in found for instance_id in self._pending):
            self._last_news = self.clock()
        elif self.clock() - self._last_news > UNKNOWN_SECONDS:
            for instance_id in missing:
                self._save(instance_id, (), has_ended=True)
                self.results[instance_id] = CommandResult(self.running)

    def _check_quiet(self) -> None:
        now = self.clock()
        quiet = [
            instance_id for instance_id in self._pending if now - self._seen[instance_id].checked_at > QUIET_SECONDS
        ]
        if not quiet:
            return
        reached = self.run_command.reached(quiet)
        for instance_id in quiet:
            seen = self._seen[instance_id]
            seen.checked_at = now
            if instance_id in reached:
                seen.reached_at = now
            elif now - seen.reached_at > LOST_SECONDS:
                # The state keeps the command: the machine may come back and finish it.
                self.results[instance_id] = CommandResult(self.running, lost=True)

    def _save(self, instance_id: str, steps: Sequence[StepStatus], *, has_ended: bool) -> None:
        store = self.stores[instance_id]
        before = store.load()
        state = before.with_running(None if has_ended else self.running)
        for step in steps:
            digest = self.running.tasks.get(step.task)
            if step.state.succeeded and digest and state.digests.get(step.task) != digest:
                state = state.with_finished(step.task, digest, self.running.command_id)
        if state != before:
            store.save(state)
