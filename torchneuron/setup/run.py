"""Drives SSM through plans, for one machine or many: send once, watch, remember every step, take up what is under way.

The run itself goes on on the machines; this side only watches. So whatever stops the watching (Ctrl-C, a lost network,
a closed laptop) loses nothing: the command id is in the state file before anything waits on it, and the next
`invoke setup` attaches to the command or starts behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

from torchneuron.aws.errors import is_denied, may_pass
from torchneuron.core.errors import AwsError, TorchNeuronError
from torchneuron.setup import failures, history
from torchneuron.setup.document import AUTO, DOCUMENT, NAME_PREFIX, STEP, Document, Request, compile_plan
from torchneuron.setup.failures import Words
from torchneuron.setup.monitor import Monitor, Outcome
from torchneuron.setup.plan import Choice, Plan, grouped, make_plan
from torchneuron.setup.render import RenderedTask
from torchneuron.setup.run_command import MOST_IDS, Commands, Found, Targets
from torchneuron.setup.state import Running, State, StateStore
from torchneuron.setup.watch import Clock, Ended, Watch, note_running

_POLL_SECONDS = 1.0
_ALL = "100%"
# How long AWS may stay out of reach before the watching is given up; botocore has tried for a minute or so by then.
_PATIENCE_SECONDS = 900.0


@dataclass(frozen=True)
class Member:
    """An instance of a run: what is to run on it, and where its state is kept."""

    instance_id: str
    tasks: tuple[RenderedTask, ...]
    store: StateStore

    @property
    def optional(self) -> frozenset[str]:
        return frozenset(task.id for task in self.tasks if task.optional)


@dataclass(frozen=True)
class Way:
    """How a run is sent: the mode (see `document`), SSM's rates for several machines, the tag that all of them have."""

    mode: str = AUTO
    tag: tuple[str, str] | None = None
    max_concurrency: str = ""
    max_errors: str = ""


@dataclass
class Chain:
    """Requests that follow each other on some instances; each goes to those that the one before succeeded on.

    `attached`: it begins with a command that an earlier run had sent.
    """

    alive: list[str]
    requests: list[tuple[Request, Document]] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    attached: bool = False


class Runner:
    """Runs tasks on instances. Nothing here is about one or many: one machine is a fleet of one."""

    def __init__(
        self,
        commands: Commands,
        monitor: Monitor,
        words: Words,
        way: Way | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Clock = time.monotonic,
    ) -> None:
        self._commands = commands
        self._monitor = monitor
        self._words = words
        self._way = way or Way()
        self._mode = self._way.mode
        self._sleep = sleep
        self._clock = clock
        self._members: dict[str, Member] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._attached: set[str] = set()
        self._before: dict[str, frozenset[str]] = {}
        self._documents: set[str] = set()
        self._watches: list[Watch] = []
        self._said: dict[str, dict[str, str]] = {}

    def run(self, members: Sequence[Member], choice: Choice | None = None) -> tuple[Outcome, ...]:
        """Run what is not finished on each member, and return once it all has ended, with an outcome each.

        Raises InputError for a `choice` that names no task or tasks that SSM could not take, Detached after Ctrl-C,
        SetupError when AWS cannot be asked any more. A failure on a machine is in its outcome.
        """
        self._members = {member.instance_id: member for member in members}
        self._outcomes, self._attached, self._before, self._said = {}, set(), {}, {}
        self._documents, self._watches = set(), []
        with ExitStack() as locks:
            for instance_id in sorted(self._members):
                locks.enter_context(self._members[instance_id].store.locked())
            for member in members:
                self._know(member)
            locks.callback(self._delete_documents)
            self._take_up()
            plans = self._plan(choice or Choice())
            chains = self._prepare(plans)
            for instance_id, plan in plans.items():
                store = self._members[instance_id].store
                store.save(store.load().without([task.id for task in plan.pending]))
            self._monitor.planned(plans)
            for together in self._shares(chains):
                self._follow(together)
            self._conclude(plans)
        return tuple(self._outcomes[member.instance_id] for member in members)

    def _know(self, member: Member) -> None:
        """Without a state here, take what SSM knows. Of a fleet, each machine says itself what it has done."""
        if member.store.find() is None:
            state = history.rebuild(self._commands, member.instance_id, member.tasks) if self._is_alone else State()
            member.store.save(state)
            if state.finished:
                self._monitor.told(f"{len(state.finished)} tasks finished before, by SSM's history of the machine.")

    @property
    def _is_alone(self) -> bool:
        return len(self._members) == 1

    def _take_up(self) -> None:
        """Watch commands that an earlier run left under way to their end, so that two never interleave.

        One that fails meanwhile is told as a failure; running again is then the person's decision.
        """
        chains = []
        for running, instance_ids in self._under_way():
            self._attached |= set(instance_ids)
            self._monitor.sent(running.command_id, instance_ids, attached=True)
            chains.append(Chain(instance_ids, watches=[self._watch(running, instance_ids)], attached=True))
        self._follow(chains)

    def _under_way(self) -> list[tuple[Running, list[str]]]:
        """The commands under way, with their instances: those noted here, and those somebody else has sent."""
        found: dict[str, tuple[Running, list[str]]] = {}
        unknown: list[str] = []
        for instance_id, member in self._members.items():
            running = member.store.load().running
            if running is None:
                unknown.append(instance_id)
            else:
                found.setdefault(running.command_id, (running, []))[1].append(instance_id)
        sent = self._commands.under_way(unknown) if unknown else {}
        for instance_id, one in sent.items():
            if one.command_id not in found:
                found[one.command_id] = (self._foreign(one), [])
            found[one.command_id][1].append(instance_id)
        return list(found.values())

    def _foreign(self, found: Found) -> Running:
        return Running(found.command_id, found.document, self._commands.tasks_of(found))

    def _plan(self, choice: Choice) -> dict[str, Plan]:
        """The plan of each instance that nothing has failed on so far."""
        plans = {}
        for instance_id, member in self._members.items():
            if instance_id not in self._outcomes:
                chosen = replace(choice, resumes=instance_id in self._attached)
                plans[instance_id] = make_plan(member.tasks, member.store.load().digests, chosen)
        return plans

    def _prepare(self, plans: Mapping[str, Plan]) -> list[Chain]:
        """All requests, compiled and with their documents there, before the first is sent."""
        groups = grouped(plans)
        try:
            compiled = [compile_plan(group.plan, DOCUMENT if self._mode == AUTO else self._mode) for group in groups]
            prepared = [[(request, self._create(request)) for request in requests] for requests in compiled]
        except AwsError as error:
            if self._mode != AUTO or not is_denied(error):
                raise
            self._monitor.told(f"Tasks are sent one by one: command documents may not be made here. {error.why}")
            self._mode = STEP
            return self._prepare(plans)
        return [Chain(list(group.instance_ids), requests) for group, requests in zip(groups, prepared, strict=True)]

    def _create(self, request: Request) -> Document:
        document = self._commands.create_document(request)
        self._documents.add(document.name)
        return document

    def _delete_documents(self) -> None:
        """Delete this run's documents, and those of the runs it attached to, but for what may still be delivered.

        Where that is not allowed, or AWS is out of reach, they are left to the next run (see `clearing`).
        """
        under_way = {watch.running.document for watch in self._watches if watch.may_go_on}
        attached = {watch.running.document for watch in self._watches}
        names = {name for name in self._documents | attached if name.startswith(NAME_PREFIX)}
        with suppress(AwsError):
            for name in sorted(names - under_way):
                self._commands.delete_document(name)

    def _shares(self, chains: list[Chain]) -> Iterator[list[Chain]]:
        """Chains that go at once: all, but with --max-concurrency one by one, for SSM counts within a command only."""
        if not self._way.max_concurrency:
            yield chains
            return
        for chain in chains:
            failed = sum(outcome.failure is not None for outcome in self._outcomes.values())
            if self._way.max_errors and failed > _allowed(self._way.max_errors, len(self._members)):
                for instance_id in chain.alive:
                    self._fail(instance_id, failures.too_many(self._words, instance_id))
            else:
                yield [chain]

    def _follow(self, chains: list[Chain]) -> None:
        """Drive the chains to their ends, all at once. Ctrl-C ends the following only: Detached is raised."""
        try:
            under_way = [chain for chain in chains if self._advance(chain)]
            while under_way:
                self._look([watch for chain in under_way for watch in chain.watches if not watch.is_over])
                under_way = [chain for chain in under_way if self._advance(chain)]
                if under_way:
                    self._sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            raise failures.detached(self._words, list(self._members), one_by_one=self._mode == STEP) from None

    def _look(self, watches: Sequence[Watch]) -> None:
        """Look at each once; while AWS is out of reach, try again for as long as a closed laptop may need."""
        given_up = self._clock() + _PATIENCE_SECONDS
        told = False
        for watch in watches:
            while True:
                try:
                    watch.look()
                    break
                except AwsError as error:
                    if not may_pass(error) or self._clock() > given_up:
                        ids, one_by_one = list(self._members), self._mode == STEP
                        raise failures.out_of_sight(self._words, error, ids, one_by_one=one_by_one) from error
                    if not told:
                        self._monitor.told(f"{error.what} The setup goes on meanwhile; trying again.")
                    told = True
                    self._sleep(_POLL_SECONDS)

    def _advance(self, chain: Chain) -> bool:
        """Once all of a request has ended, note what failed and send the next. False when there is nothing more."""
        if not all(watch.is_over for watch in chain.watches):
            return True
        for watch in chain.watches:
            for instance_id, ended in watch.ended.items():
                self._note(instance_id, ended, chain)
        chain.watches = []
        if not chain.requests or not chain.alive:
            return False
        request, document = chain.requests.pop(0)
        for targets in self._targets(chain.alive):
            command_id, document = self._send(request, document, targets)
            running = Running(command_id, document.name, {task.id: task.digest for task in request.tasks})
            chain.watches.append(self._watch(running, targets.instance_ids))
            note_running(chain.watches[-1].stores, running)
            self._monitor.sent(running.command_id, targets.instance_ids, attached=False)
        return True

    def _note(self, instance_id: str, ended: Ended, chain: Chain) -> None:
        steps = ended.invocation.steps if ended.invocation else ()
        said = {step.task: step.last_line for step in steps if step.word.succeeded}
        self._said[instance_id] = self._said.get(instance_id, {}) | said
        if not chain.attached:
            self._before[instance_id] = self._before.get(instance_id, frozenset()) | ended.before
        if chain.attached and ended.invocation is None and not ended.lost:
            store = self._members[instance_id].store
            store.set_aside(
                "unknown-command", f"names an SSM command that SSM does not know, {ended.running.command_id}"
            )
            return
        if ended.succeeded or (chain.attached and ended.at_once and ended.is_cancelled):
            return
        chain.alive.remove(instance_id)
        failure = failures.failure(self._words, self._commands, instance_id, ended)
        self._fail(instance_id, failure)

    def _fail(self, instance_id: str, failure: TorchNeuronError) -> None:
        self._outcomes[instance_id] = Outcome(instance_id, failure=failure, said=self._said.get(instance_id, {}))
        self._monitor.ended(self._outcomes[instance_id])

    def _targets(self, instance_ids: Sequence[str]) -> list[Targets]:
        """One command for all of them where their tag or their number allows it; else as few as may be."""
        if len(instance_ids) == 1:
            return [Targets(tuple(instance_ids))]
        # SSM's own defaults are 50 at once, and none begun after an error.
        rates = [self._way.max_concurrency or _ALL, self._way.max_errors or _ALL]
        if self._way.tag and set(instance_ids) == set(self._members):
            return [Targets(tuple(instance_ids), self._way.tag, *rates)]
        parts = [tuple(instance_ids[at : at + MOST_IDS]) for at in range(0, len(instance_ids), MOST_IDS)]
        return [Targets(part, None, *(_share(rate, len(parts)) for rate in rates)) for part in parts]

    def _send(self, request: Request, document: Document, targets: Targets) -> tuple[str, Document]:
        """Send a request; the command's id, and the document it was sent by."""
        try:
            return self._commands.send(request, document, targets), document
        except AwsError as error:
            if error.code not in ("InvalidDocument", "InvalidDocumentVersion") or request.content is None:
                raise
            # Somebody deleted or replaced it: the refused request has run nothing.
            document = self._create(request)
            return self._commands.send(request, document, targets), document

    def _watch(self, running: Running, instance_ids: Sequence[str]) -> Watch:
        stores = {one: self._members[one].store for one in instance_ids}
        optional = frozenset().union(*(self._members[one].optional for one in instance_ids))
        self._watches.append(Watch(self._commands, running, stores, optional, self._monitor, self._clock))
        return self._watches[-1]

    def _conclude(self, plans: Mapping[str, Plan]) -> None:
        for instance_id, plan in plans.items():
            if instance_id in self._outcomes:
                continue
            finished = self._members[instance_id].store.load().finished
            before = self._before.get(instance_id, frozenset())
            ran = [task.id for task in plan.pending if task.id not in before]
            chosen = [step.task.id for step in plan.steps if step.chosen]
            self._outcomes[instance_id] = Outcome(
                instance_id,
                ran=tuple(ran),
                skipped=tuple(task for task in chosen if task not in ran),
                left_out=tuple(step.task.id for step in plan.steps if not step.chosen),
                failed_optional=tuple(one for one in ran if one not in finished),
                said=self._said.get(instance_id, {}),
            )
            self._monitor.ended(self._outcomes[instance_id])


def _allowed(rate: str, members: int) -> int:
    return members * int(rate[:-1]) // 100 if rate.endswith("%") else int(rate)


def _share(rate: str, parts: int) -> str:
    """A rate for each of several commands that go out together: a percentage stays, a number is divided."""
    return rate if rate.endswith("%") else str(max(1, int(rate) // parts))
