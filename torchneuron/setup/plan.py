"""What a run will do, decided before it does anything: pure, frozen, and the same for a dry run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torchneuron.errors import InputError
from torchneuron.setup.render import RenderedTask


@dataclass(frozen=True)
class Step:
    """One task in a plan: whether it runs, and the reason in a few words."""

    task: RenderedTask
    runs: bool
    reason: str


@dataclass(frozen=True)
class Plan:
    steps: tuple[Step, ...]

    @property
    def pending(self) -> tuple[RenderedTask, ...]:
        """The tasks that run, in order."""
        return tuple(step.task for step in self.steps if step.runs)


def make_plan(tasks: Sequence[RenderedTask], finished: Mapping[str, str], *, start_from: str | None = None) -> Plan:
    """The plan for `tasks` where `finished` maps the ids of finished tasks to their digests.

    Tasks are skipped as long as they are finished and unchanged; the first that is not, and all
    after it, run. With `start_from` (an id, or the only id that starts with it) everything before
    that task is skipped, and it and all after it run. Raises InputError when that names no one task.
    """
    if start_from:
        first = _index_of(tasks, start_from)
        reasons = ["before --start-from"] * first
    else:
        reasons = []
        for task in tasks:
            if finished.get(task.id) != task.digest:
                break
            reasons.append("finished")
        first = len(reasons)
    skipped = [Step(task, False, reason) for task, reason in zip(tasks, reasons, strict=False)]
    return Plan((*skipped, *(Step(task, True, _why(task, finished)) for task in tasks[first:])))


def _why(task: RenderedTask, finished: Mapping[str, str]) -> str:
    if task.id not in finished:
        return "not run yet"
    return "run again" if finished[task.id] == task.digest else "changed, or one before it"


def _index_of(tasks: Sequence[RenderedTask], wanted: str) -> int:
    ids = [task.id for task in tasks]
    if wanted in ids:
        return ids.index(wanted)
    matches = [name for name in ids if name.startswith(wanted)]
    if len(matches) == 1:
        return ids.index(matches[0])
    listed = "\n".join(f"  {name}" for name in matches or ids)
    what = f"{wanted!r} is the start of {len(matches)} tasks." if matches else f"No task starts with {wanted!r}."
    raise InputError(what, why=listed, do="Name one of these with --start-from.")
