"""What a run does, decided before it starts; the same for a dry run. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torchneuron.core.errors import InputError
from torchneuron.setup.render import RenderedTask


@dataclass(frozen=True)
class TaskSelection:
    """Which tasks to run: by default all that are not finished.

    `start_from` selects a task and all after it, `only` a single task, `clean` all tasks. Each runs finished tasks
    again, unless the run `resumes` one with the same selection: then what that run finished counts.
    """

    start_from: str = ""
    only: str = ""
    clean: bool = False
    resumes: bool = False

    def check(self) -> None:
        """Raises InputError for options that exclude each other."""
        if sum(map(bool, (self.start_from, self.only, self.clean))) > 1:
            raise InputError("Give only one of --start-from, --only and --clean-state.")


@dataclass(frozen=True)
class Step:
    """A task in a plan. `reason` says briefly why it runs or not; `selected`: no option leaves it out."""

    task: RenderedTask
    runs: bool
    reason: str
    selected: bool = True


@dataclass(frozen=True)
class Plan:
    """The steps on one instance, in order. With `again`, marks of completion on the machine do not count."""

    steps: tuple[Step, ...]
    again: bool = False

    @property
    def pending(self) -> tuple[RenderedTask, ...]:
        """The tasks that run, in order."""
        return tuple(step.task for step in self.steps if step.runs)

    def scripts(self) -> tuple[tuple[RenderedTask, str], ...]:
        """The pending tasks with their scripts."""
        return tuple(self._scripts())

    def _scripts(self) -> Iterator[tuple[RenderedTask, str]]:
        after: RenderedTask | None = None
        forget = [task.id for task in self.pending] if self.again else []
        references = (reference for step in self.steps for reference in step.task.secrets.values())
        given = next((reference.run for reference in references if reference.run), "")
        for index, task in enumerate(self.pending):
            is_first, is_last = index == 0, index == len(self.pending) - 1
            # After an optional task that fails, later tasks still need the values.
            drop = given if is_last or not task.optional else ""
            yield (
                task,
                task.script(
                    after=after, is_first=is_first, forget=forget if is_first else (), drop=drop, is_last=is_last
                ),
            )
            after = after if task.optional else task


def make_plan(
    tasks: Sequence[RenderedTask], finished: Mapping[str, str], selection: TaskSelection | None = None
) -> Plan:
    """The plan for `tasks`, where `finished` maps the ids of finished tasks to their digests.

    The first task that is not finished or has changed runs, with all after it; an optional one runs alone. Raises
    InputError if `selection` names no task or several.
    """
    selection = selection or TaskSelection()
    first, last = 0, len(tasks)
    if selection.only:
        first = _index_of(tasks, selection.only, "--only")
        last = first + 1
    elif selection.start_from:
        first = _index_of(tasks, selection.start_from, "--start-from")
    option = "--only" if selection.only else "--start-from"
    before = tuple(Step(task, False, f"left out by {option}", selected=False) for task in tasks[:first])
    after = tuple(Step(task, False, f"left out by {option}", selected=False) for task in tasks[last:])
    again = bool(selection.only or selection.start_from or selection.clean) and not selection.resumes
    steps = (_all_again if again else _unfinished)(tasks[first:last], finished)
    return Plan((*before, *steps, *after), again=again)


def _all_again(tasks: Sequence[RenderedTask], finished: Mapping[str, str]) -> tuple[Step, ...]:
    return tuple(Step(task, True, _reason(task, finished)) for task in tasks)


def _unfinished(tasks: Sequence[RenderedTask], finished: Mapping[str, str]) -> tuple[Step, ...]:
    steps, runs_rest = [], False
    for task in tasks:
        is_finished = finished.get(task.id) == task.digest
        runs_rest = runs_rest or not (is_finished or task.optional)
        runs = runs_rest or not is_finished
        steps.append(Step(task, runs, _reason(task, finished) if runs else "finished"))
    return tuple(steps)


@dataclass(frozen=True)
class Group:
    """Instances with the same tasks, which share commands. `plan` has what is pending on any of them."""

    instance_ids: tuple[str, ...]
    plan: Plan


def grouped(plans: Mapping[str, Plan]) -> tuple[Group, ...]:
    """The instances with pending tasks, grouped by what they run.

    A task that only some of a group have finished is in its plan: on those, it ends at once because of its mark.
    """
    by_tasks: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for instance_id, plan in plans.items():
        if plan.pending:
            key = (plan.again, tuple(step.task.digest for step in plan.steps))
            by_tasks.setdefault(key, []).append(instance_id)
    return tuple(
        Group(tuple(instance_ids), _union([plans[instance_id] for instance_id in instance_ids]))
        for instance_ids in by_tasks.values()
    )


def _union(plans: Sequence[Plan]) -> Plan:
    by_task = zip(*(plan.steps for plan in plans), strict=True)
    steps = (next((step for step in same if step.runs), same[0]) for same in by_task)
    return Plan(tuple(steps), again=plans[0].again)


def _reason(task: RenderedTask, finished: Mapping[str, str]) -> str:
    if task.id not in finished:
        return "not run yet"
    return "run again" if finished[task.id] == task.digest else "changed, or an earlier task"


def _index_of(tasks: Sequence[RenderedTask], start: str, option: str) -> int:
    ids = [task.id for task in tasks]
    if start in ids:
        return ids.index(start)
    matches = [task_id for task_id in ids if task_id.startswith(start)]
    if len(matches) == 1:
        return ids.index(matches[0])
    listed = "\n".join(f"  {task_id}" for task_id in matches or ids)
    what = f"{start!r} matches {len(matches)} tasks." if matches else f"No task starts with {start!r}."
    raise InputError(what, why=listed, do=f"Name one of these with {option}.")
