"""What a run will do, decided before it does anything: pure, frozen, and the same for a dry run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torchneuron.core.errors import InputError
from torchneuron.setup.render import RenderedTask


@dataclass(frozen=True)
class Choice:
    """Which tasks a run is asked for: all that are not finished, unless it says otherwise.

    `start_from`: one task and all after it; `only`: that one; `clean`: all. Each makes finished tasks run again, unless
    the run `resumes` one that was asked for the same: then what that has finished counts.
    """

    start_from: str = ""
    only: str = ""
    clean: bool = False
    resumes: bool = False

    def check(self) -> None:
        if sum(map(bool, (self.start_from, self.only, self.clean))) > 1:
            raise InputError("Give one of --start-from, --only and --clean-state, not several.")


@dataclass(frozen=True)
class Step:
    """One task in a plan: whether it runs, and the reason in a few words. `chosen`: it is not left out by an option."""

    task: RenderedTask
    runs: bool
    reason: str
    chosen: bool = True


@dataclass(frozen=True)
class Plan:
    """What becomes of each task on one instance, in order. With `again`, marks on the machine don't count either."""

    steps: tuple[Step, ...]
    again: bool = False

    @property
    def pending(self) -> tuple[RenderedTask, ...]:
        """The tasks that run, in order."""
        return tuple(step.task for step in self.steps if step.runs)

    def scripts(self) -> tuple[tuple[RenderedTask, str], ...]:
        """The pending tasks with the script that the machine runs for each."""
        return tuple(self._scripts())

    def _scripts(self) -> Iterator[tuple[RenderedTask, str]]:
        after: RenderedTask | None = None
        forget = [task.id for task in self.pending] if self.again else []
        given = next((one.run for step in self.steps for one in step.task.secrets.values() if one.run), "")
        for index, task in enumerate(self.pending):
            first, last = index == 0, index == len(self.pending) - 1
            # What is optional may fail and the rest still needs the values.
            drop = given if last or not task.optional else ""
            yield (
                task,
                task.script(after=after, is_first=first, forget=forget if first else (), drop=drop, is_last=last),
            )
            after = after if task.optional else task


def make_plan(tasks: Sequence[RenderedTask], finished: Mapping[str, str], choice: Choice | None = None) -> Plan:
    """The plan for `tasks` where `finished` maps the ids of finished tasks to their digests.

    Tasks are skipped as long as they are finished and unchanged; the first that is not, and all after it, run. An
    optional one that is not finished runs without those after it. Raises InputError when `choice` names no one task.
    """
    choice = choice or Choice()
    first, last = 0, len(tasks)
    if choice.only:
        first = _index_of(tasks, choice.only, "--only")
        last = first + 1
    elif choice.start_from:
        first = _index_of(tasks, choice.start_from, "--start-from")
    option = "--only" if choice.only else "--start-from"
    before = tuple(Step(task, False, f"left out by {option}", chosen=False) for task in tasks[:first])
    behind = tuple(Step(task, False, f"left out by {option}", chosen=False) for task in tasks[last:])
    again = bool(choice.only or choice.start_from or choice.clean) and not choice.resumes
    chosen = tasks[first:last]
    steps = _all_again(chosen, finished) if again else _unfinished(chosen, finished)
    return Plan((*before, *steps, *behind), again=again)


def _all_again(tasks: Sequence[RenderedTask], finished: Mapping[str, str]) -> tuple[Step, ...]:
    return tuple(Step(task, True, _why(task, finished)) for task in tasks)


def _unfinished(tasks: Sequence[RenderedTask], finished: Mapping[str, str]) -> tuple[Step, ...]:
    steps, reached = [], False
    for task in tasks:
        done = finished.get(task.id) == task.digest
        reached = reached or not (done or task.optional)
        runs = reached or not done
        steps.append(Step(task, runs, _why(task, finished) if runs else "finished"))
    return tuple(steps)


@dataclass(frozen=True)
class Group:
    """Instances that the same commands serve: their tasks are the same. `plan` has what is pending on any of them."""

    instance_ids: tuple[str, ...]
    plan: Plan


def grouped(plans: Mapping[str, Plan]) -> tuple[Group, ...]:
    """The instances, of those in `plans`, that have anything pending, by what they run.

    A task that is finished on some of a group is in its plan even so: there, its own mark makes it end at once.
    """
    by_tasks: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for instance_id, plan in plans.items():
        if plan.pending:
            same = (plan.again, tuple(step.task.digest for step in plan.steps))
            by_tasks.setdefault(same, []).append(instance_id)
    return tuple(Group(tuple(ids), _union([plans[one] for one in ids])) for ids in by_tasks.values())


def _union(plans: Sequence[Plan]) -> Plan:
    each = zip(*(plan.steps for plan in plans), strict=True)
    steps = (next((step for step in same if step.runs), same[0]) for same in each)
    return Plan(tuple(steps), again=plans[0].again)


def _why(task: RenderedTask, finished: Mapping[str, str]) -> str:
    if task.id not in finished:
        return "not run yet"
    return "run again" if finished[task.id] == task.digest else "changed, or one before it"


def _index_of(tasks: Sequence[RenderedTask], wanted: str, option: str) -> int:
    ids = [task.id for task in tasks]
    if wanted in ids:
        return ids.index(wanted)
    matches = [name for name in ids if name.startswith(wanted)]
    if len(matches) == 1:
        return ids.index(matches[0])
    listed = "\n".join(f"  {name}" for name in matches or ids)
    what = f"{wanted!r} is the start of {len(matches)} tasks." if matches else f"No task starts with {wanted!r}."
    raise InputError(what, why=listed, do=f"Name one of these with {option}.")
