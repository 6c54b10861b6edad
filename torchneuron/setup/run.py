"""Run plans over SSM, for one machine or many: attach to what is under way, send, watch, save every finished task.

The machines run the commands on their own; this process only watches. Whatever stops it (Ctrl-C, a lost network, a
closed laptop) loses nothing: the state file has the command id before anything waits for the command, and the next
`invoke setup` attaches to it or starts after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

from torchneuron.aws.errors import is_denied, may_pass
from torchneuron.core.errors import AwsError, TorchNeuronError
from torchneuron.setup import failures
from torchneuron.setup.document import AUTO, DOCUMENT, NAME_PREFIX, STEP, Document, Request, compile_plan
from torchneuron.setup.failures import ResumeCommands
from torchneuron.setup.plan import Plan, TaskSelection, grouped, make_plan
from torchneuron.setup.render import RenderedTask
from torchneuron.setup.run_command import MOST_IDS, CommandTargets, RunCommand, SentCommand
from torchneuron.setup.state import Running, State, StateStore, rebuild
from torchneuron.setup.steps import Monitor, Outcome
from torchneuron.setup.watch import Clock, CommandResult, Watch

_POLL_SECONDS = 1.0
_ALL = "100%"
# How long AWS may be out of reach before the watching ends. By then botocore has retried for about a minute.
_PATIENCE_SECONDS = 900.0


@dataclass(frozen=True)
class Member:
    """An instance of a run, its tasks and its state file."""

    instance_id: str
    tasks: tuple[RenderedTask, ...]
    store: StateStore

    @property
    def optional(self) -> frozenset[str]:
        return frozenset(task.id for task in self.tasks if task.optional)


@dataclass(frozen=True)
class DispatchOptions:
    """How a run is sent: the mode (see `document`), a tag that all its instances have, and SSM's rates for several."""

    mode: str = AUTO
    tag: tuple[str, str] | None = None
    max_concurrency: str = ""
    max_errors: str = ""


@dataclass
class Chain:
    """Consecutive requests to some instances. Each goes to the `alive` ones, on which all earlier ones succeeded.

    `attached`: its first command was sent by an earlier run.
    """

    alive: list[str]
    requests: list[tuple[Request, Document]] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    attached: bool = False


class Runner:
    """Runs tasks on instances."""

    def __init__(
        self,
        run_command: RunCommand,
        monitor: Monitor,
        resume: ResumeCommands,
        dispatch: DispatchOptions | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Clock = time.monotonic,
    ) -> None:
        self._run_command = run_command
        self._monitor = monitor
        self._resume = resume
        self._dispatch = dispatch or DispatchOptions()
        self._mode = self._dispatch.mode
        self._sleep = sleep
        self._clock = clock
        self._members: dict[str, Member] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._attached: set[str] = set()
        self._before: dict[str, frozenset[str]] = {}
        self._documents: set[str] = set()
        self._watches: list[Watch] = []
        self._last_lines: dict[str, dict[str, str]] = {}

    def run(self, members: Sequence[Member], selection: TaskSelection | None = None) -> tuple[Outcome, ...]:
        """Run what is not finished on each member and return the outcomes, in order.

        Raises InputError for a selection that matches no single task and for tasks that SSM does not accept, Detached
        after Ctrl-C, SetupError if AWS stays out of reach. Failures on a machine are in its outcome.
        """
        self._members = {member.instance_id: member for member in members}
        self._outcomes, self._attached, self._before, self._last_lines = {}, set(), {}, {}
        self._documents, self._watches = set(), []
        with ExitStack() as locks:
            for instance_id in sorted(self._members):
                locks.enter_context(self._members[instance_id].store.locked())
            for member in members:
                self._create_state(member)
            locks.callback(self._delete_documents)
            self._attach()
            plans = self._plan(selection or TaskSelection())
            chains = self._prepare(plans)
            for instance_id, plan in plans.items():
                store = self._members[instance_id].store
                store.save(store.load().without([task.id for task in plan.pending]))
            self._monitor.planned(plans)
            for concurrent in self._waves(chains):
                self._drive(concurrent)
            self._conclude(plans)
        return tuple(self._outcomes[member.instance_id] for member in members)

    def _create_state(self, member: Member) -> None:
        """Without a state file, use SSM's history. In a fleet, each machine's own marks do instead."""
        if member.store.find() is None:
            is_alone = len(self._members) == 1
            state = rebuild(self._run_command, member.instance_id, member.tasks) if is_alone else State()
            member.store.save(state)
            if state.finished:
                self._monitor.note(f"According to SSM's history, {len(state.finished)} tasks had finished before.")

    def _attach(self) -> None:
        """Watch commands that earlier runs left under way until they end, so that two never interleave.

        If one fails, so does this run: whether to run it again is the user's decision.
        """
        chains = []
        for running, instance_ids in self._under_way():
            self._attached |= set(instance_ids)
            self._monitor.sent(running.command_id, instance_ids, attached=True)
            chains.append(Chain(instance_ids, watches=[self._watch(running, instance_ids)], attached=True))
        self._drive(chains)

    def _under_way(self) -> list[tuple[Running, list[str]]]:
        """Commands under way and their instances: those in state files, and those that somebody else sent."""
        found: dict[str, tuple[Running, list[str]]] = {}
        unknown: list[str] = []
        for instance_id, member in self._members.items():
            running = member.store.load().running
            if running is None:
                unknown.append(instance_id)
            else:
                found.setdefault(running.command_id, (running, []))[1].append(instance_id)
        others = self._run_command.under_way(unknown) if unknown else {}
        for instance_id, sent in others.items():
            if sent.command_id not in found:
                found[sent.command_id] = (self._running(sent), [])
            found[sent.command_id][1].append(instance_id)
        return list(found.values())

    def _running(self, sent: SentCommand) -> Running:
        return Running(sent.command_id, sent.document, self._run_command.tasks_of(sent))

    def _plan(self, selection: TaskSelection) -> dict[str, Plan]:
        """The plans of the instances without a failure so far."""
        plans = {}
        for instance_id, member in self._members.items():
            if instance_id not in self._outcomes:
                resuming = replace(selection, resumes=instance_id in self._attached)
                plans[instance_id] = make_plan(member.tasks, member.store.load().digests, resuming)
        return plans

    def _prepare(self, plans: Mapping[str, Plan]) -> list[Chain]:
        """Compile all requests and create their documents before the first is sent."""
        groups = grouped(plans)
        try:
            compiled = [compile_plan(group.plan, DOCUMENT if self._mode == AUTO else self._mode) for group in groups]
            prepared = [[(request, self._create(request)) for request in requests] for requests in compiled]
        except AwsError as error:
            if self._mode != AUTO or not is_denied(error):
                raise
            self._monitor.note(f"No permission to create command documents: sending tasks one by one. {error.why}")
            self._mode = STEP
            return self._prepare(plans)
        return [Chain(list(group.instance_ids), requests) for group, requests in zip(groups, prepared, strict=True)]

    def _create(self, request: Request) -> Document:
        document = self._run_command.create_document(request)
        self._documents.add(document.name)
        return document

    def _delete_documents(self) -> None:
        """Delete the documents of this run and of the runs it attached to, unless they may still be delivered.

        Without the permission, or without AWS, they remain for the next run (see `stale_documents`).
        """
        may_go_on = {watch.running.document for watch in self._watches if watch.may_go_on}
        attached = {watch.running.document for watch in self._watches}
        names = {name for name in self._documents | attached if name.startswith(NAME_PREFIX)}
        with suppress(AwsError):
            for name in sorted(names - may_go_on):
                self._run_command.delete_document(name)

    def _waves(self, chains: list[Chain]) -> Iterator[list[Chain]]:
        """All chains at once; with --max-concurrency one by one, because SSM's rates apply within a command only."""
        if not self._dispatch.max_concurrency:
            yield chains
            return
        for chain in chains:
            failed = sum(outcome.failure is not None for outcome in self._outcomes.values())
            if self._dispatch.max_errors and failed > _allowed(self._dispatch.max_errors, len(self._members)):
                for instance_id in chain.alive:
                    self._fail(instance_id, failures.too_many_errors(self._resume, instance_id))
            else:
                yield [chain]

    def _drive(self, chains: list[Chain]) -> None:
        """Send and watch the chains concurrently until they end. Raises Detached on Ctrl-C."""
        try:
            active = [chain for chain in chains if self._advance(chain)]
            while active:
                self._look([watch for chain in active for watch in chain.watches if not watch.is_over])
                active = [chain for chain in active if self._advance(chain)]
                if active:
                    self._sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            raise failures.detached(self._resume, list(self._members), one_by_one=self._mode == STEP) from None

    def _look(self, watches: Sequence[Watch]) -> None:
        """Look at each watch once. If AWS is out of reach, retry for `_PATIENCE_SECONDS`."""
        deadline = self._clock() + _PATIENCE_SECONDS
        is_reported = False
        for watch in watches:
            while True:
                try:
                    watch.look()
                    break
                except AwsError as error:
                    if not may_pass(error) or self._clock() > deadline:
                        ids, one_by_one = list(self._members), self._mode == STEP
                        raise failures.out_of_sight(self._resume, error, ids, one_by_one=one_by_one) from error
                    if not is_reported:
                        self._monitor.note(f"{error.what} Trying again; the setup goes on meanwhile.")
                    is_reported = True
                    self._sleep(_POLL_SECONDS)

    def _advance(self, chain: Chain) -> bool:
        """Once all commands of a request have ended, record the failures and send the next request.

        False if there is nothing more to do.
        """
        if not all(watch.is_over for watch in chain.watches):
            return True
        for watch in chain.watches:
            for instance_id, result in watch.results.items():
                self._record(instance_id, result, chain)
        chain.watches = []
        if not chain.requests or not chain.alive:
            return False
        request, document = chain.requests.pop(0)
        for targets in self._targets(chain.alive):
            command_id, document = self._send(request, document, targets)
            running = Running(command_id, document.name, {task.id: task.digest for task in request.tasks})
            chain.watches.append(self._watch(running, targets.instance_ids))
            # Before anything waits for the command.
            for store in chain.watches[-1].stores.values():
                store.save(store.load().with_running(running))
            self._monitor.sent(running.command_id, targets.instance_ids, attached=False)
        return True

    def _record(self, instance_id: str, result: CommandResult, chain: Chain) -> None:
        steps = result.invocation.steps if result.invocation else ()
        last_lines = {step.task: step.last_line for step in steps if step.state.succeeded}
        self._last_lines[instance_id] = self._last_lines.get(instance_id, {}) | last_lines
        if not chain.attached:
            self._before[instance_id] = self._before.get(instance_id, frozenset()) | result.before
        if chain.attached and result.invocation is None and not result.lost:
            why = f"names an SSM command that SSM does not know, {result.running.command_id}"
            self._members[instance_id].store.set_aside("unknown-command", why)
            return
        if result.succeeded or (chain.attached and result.had_ended and result.is_cancelled):
            return
        chain.alive.remove(instance_id)
        self._fail(instance_id, failures.failure(self._resume, self._run_command, instance_id, result))

    def _fail(self, instance_id: str, failure: TorchNeuronError) -> None:
        last_lines = self._last_lines.get(instance_id, {})
        self._outcomes[instance_id] = Outcome(instance_id, failure=failure, last_lines=last_lines)
        self._monitor.ended(self._outcomes[instance_id])

    def _targets(self, instance_ids: Sequence[str]) -> list[CommandTargets]:
        """One command for all if their tag or number allows it; otherwise as few as possible."""
        if len(instance_ids) == 1:
            return [CommandTargets(tuple(instance_ids))]
        # SSM's defaults are 50 at a time, and none after the first error.
        rates = [self._dispatch.max_concurrency or _ALL, self._dispatch.max_errors or _ALL]
        if self._dispatch.tag and set(instance_ids) == set(self._members):
            return [CommandTargets(tuple(instance_ids), self._dispatch.tag, *rates)]
        parts = [tuple(instance_ids[at : at + MOST_IDS]) for at in range(0, len(instance_ids), MOST_IDS)]
        return [CommandTargets(part, None, *(_share(rate, len(parts)) for rate in rates)) for part in parts]

    def _send(self, request: Request, document: Document, targets: CommandTargets) -> tuple[str, Document]:
        """Send a request; returns the command id and the document that was used."""
        try:
            return self._run_command.send(request, document, targets), document
        except AwsError as error:
            if error.code not in ("InvalidDocument", "InvalidDocumentVersion") or request.content is None:
                raise
            # Somebody deleted or replaced the document, so the request has run nothing.
            document = self._create(request)
            return self._run_command.send(request, document, targets), document

    def _watch(self, running: Running, instance_ids: Sequence[str]) -> Watch:
        stores = {instance_id: self._members[instance_id].store for instance_id in instance_ids}
        optional = frozenset().union(*(self._members[instance_id].optional for instance_id in instance_ids))
        self._watches.append(Watch(self._run_command, running, stores, optional, self._monitor, self._clock))
        return self._watches[-1]

    def _conclude(self, plans: Mapping[str, Plan]) -> None:
        for instance_id, plan in plans.items():
            if instance_id in self._outcomes:
                continue
            finished = self._members[instance_id].store.load().finished
            before = self._before.get(instance_id, frozenset())
            ran = [task.id for task in plan.pending if task.id not in before]
            selected = [step.task.id for step in plan.steps if step.selected]
            self._outcomes[instance_id] = Outcome(
                instance_id,
                ran=tuple(ran),
                skipped=tuple(task for task in selected if task not in ran),
                left_out=tuple(step.task.id for step in plan.steps if not step.selected),
                failed_optional=tuple(task for task in ran if task not in finished),
                last_lines=self._last_lines.get(instance_id, {}),
            )
            self._monitor.ended(self._outcomes[instance_id])


def _allowed(rate: str, members: int) -> int:
    return members * int(rate[:-1]) // 100 if rate.endswith("%") else int(rate)


def _share(rate: str, parts: int) -> str:
    """The rate for each of several concurrent commands: a percentage unchanged, a number divided."""
    return rate if rate.endswith("%") else str(max(1, int(rate) // parts))
