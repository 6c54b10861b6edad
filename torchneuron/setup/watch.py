"""Follows one command on its instances: tells how it stands, remembers what finishes, knows when it is over.

The run itself goes on on the machines; this only looks. A machine that is gone leaves its command InProgress for ever,
so one that is silent for long is asked after.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from torchneuron.setup.monitor import Monitor
from torchneuron.setup.run_command import Commands, Invocation
from torchneuron.setup.state import Running, State, StateStore
from torchneuron.setup.steps import StepStatus, Word, first_failed, in_order

Clock = Callable[[], float]
"""Seconds, from whenever."""

# SSM may take a moment to know a command it has just accepted.
UNKNOWN_SECONDS = 30.0
# With no step coming or going for so long, the machine itself is asked after; a reboot takes less than the second.
QUIET_SECONDS = 60.0
LOST_SECONDS = 300.0


@dataclass(frozen=True)
class Ended:
    """How a command ended on an instance. `invocation` is None when SSM does not know it, `lost` when the machine is
    out of reach. `failed` is the step that stopped it, if one did. `at_once`: it had ended when it was first looked at.
    `before` are tasks that the machine had finished already.
    """

    running: Running
    invocation: Invocation | None = None
    lost: bool = False
    failed: StepStatus | None = None
    succeeded: bool = False
    at_once: bool = False
    before: frozenset[str] = frozenset()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody cancelled it. SSM calls it failed, too, if an optional step had failed before."""
        whole = self.invocation is not None and self.invocation.status == "Cancelled"
        return whole or (self.failed is not None and self.failed.word is Word.CANCELLED)


@dataclass
class _Seen:
    """An instance as it was last seen: its steps' words, and when they changed or it was reached."""

    words: tuple[tuple[str, str], ...]
    asked_at: float
    reached_at: float


@dataclass
class Watch:
    """A command under way on the instances of `stores`. `optional` are the tasks whose failures stop nothing."""

    commands: Commands
    running: Running
    stores: Mapping[str, StateStore]
    optional: Collection[str]
    monitor: Monitor
    clock: Clock
    ended: dict[str, Ended] = field(default_factory=dict)
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _last_news: float = 0.0
    _looks: int = 0

    def __post_init__(self) -> None:
        self._last_news = self.clock()
        for instance_id in self.stores:
            self._seen[instance_id] = _Seen((), self._last_news, self._last_news)

    @property
    def is_over(self) -> bool:
        return len(self.ended) == len(self.stores)

    @property
    def may_go_on(self) -> bool:
        """Whether it may still be delivered or run somewhere, as far as is known."""
        return not self.is_over or any(ended.lost for ended in self.ended.values())

    @property
    def left(self) -> list[str]:
        """The instances it has not ended on."""
        return [one for one in self.stores if one not in self.ended]

    def look(self) -> None:
        """Look once. What SSM says of each instance is told and kept before this returns."""
        self._looks += 1
        only = next(iter(self.stores)) if len(self.stores) == 1 else ""
        found = self.commands.invocations(self.running.command_id, self.running.tasks, only)
        for instance_id in self.left:
            if instance_id in found:
                self._take(instance_id, found[instance_id])
        self._give_up(found)
        self._ask_after_silent()

    def _take(self, instance_id: str, invocation: Invocation) -> None:
        steps = in_order(invocation.steps, list(self.running.tasks), self.optional)
        words = tuple((step.task, step.word.value) for step in steps)
        seen = self._seen[instance_id]
        if words != seen.words or invocation.ended:
            seen.words, seen.asked_at, seen.reached_at = words, self.clock(), self.clock()
        self.monitor.progress(instance_id, steps)
        self._remember(instance_id, steps, over=invocation.ended)
        if invocation.ended:
            self._end(instance_id, invocation, steps)

    def _end(self, instance_id: str, invocation: Invocation, steps: Sequence[StepStatus]) -> None:
        failed = first_failed(steps, self.optional)
        # An optional step that failed makes SSM call all of it failed.
        optional_only = bool(steps) and all(step.word.succeeded or step.task in self.optional for step in steps)
        succeeded = failed is None and (invocation.status == "Success" or optional_only)
        self.ended[instance_id] = Ended(
            self.running,
            invocation,
            failed=failed,
            succeeded=succeeded,
            at_once=self._looks == 1,
            before=frozenset(step.task for step in steps if step.word is Word.FINISHED_BEFORE),
        )

    def _give_up(self, found: Mapping[str, Invocation]) -> None:
        """End it where SSM shows nothing of it, long after it took it and with nothing under way elsewhere."""
        missing = [one for one in self.left if one not in found]
        under_way = any(one in found for one in self.left)
        if not missing or under_way:
            self._last_news = self.clock()
        elif self.clock() - self._last_news > UNKNOWN_SECONDS:
            for instance_id in missing:
                self._remember(instance_id, (), over=True)
                self.ended[instance_id] = Ended(self.running)

    def _ask_after_silent(self) -> None:
        now = self.clock()
        silent = [one for one in self.left if now - self._seen[one].asked_at > QUIET_SECONDS]
        if not silent:
            return
        reached = self.commands.reached(silent)
        for instance_id in silent:
            seen = self._seen[instance_id]
            seen.asked_at = now
            if instance_id in reached:
                seen.reached_at = now
            elif now - seen.reached_at > LOST_SECONDS:
                # What was under way stays noted: the machine may come back, and the run with it.
                self.ended[instance_id] = Ended(self.running, lost=True)

    def _remember(self, instance_id: str, steps: Sequence[StepStatus], *, over: bool) -> None:
        store = self.stores[instance_id]
        before = store.load()
        state = before.with_running(None if over else self.running)
        for step in steps:
            digest = self.running.tasks.get(step.task)
            if step.word.succeeded and digest and state.digests.get(step.task) != digest:
                state = state.with_finished(step.task, digest, self.running.command_id)
        if state != before:
            store.save(state)


def note_running(stores: Mapping[str, StateStore], running: Running) -> None:
    """Keep on each instance's state, before anything waits on it, that this was sent."""
    for store in stores.values():
        state: State = store.load()
        store.save(state.with_running(running))
