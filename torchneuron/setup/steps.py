"""How a step stands, in this project's words: what SSM reports, put in order and told apart.

SSM knows no skipping: what the agent left out after a failure, what its own test left out and what had finished before
are all successes to it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum


class Word(str, Enum):
    """What became of a step. The value is what people and programs read."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FINISHED_BEFORE = "finished before"
    SKIPPED = "skipped"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED OUT"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    NOT_RUN = "not run"

    @property
    def succeeded(self) -> bool:
        return self in (Word.DONE, Word.FINISHED_BEFORE, Word.SKIPPED)

    @property
    def stopped(self) -> bool:
        """Whether nothing after it runs, unless it was optional."""
        return self in (Word.FAILED, Word.TIMED_OUT, Word.CANCELLED)

    @property
    def ended(self) -> bool:
        return self not in (Word.WAITING, Word.RUNNING, Word.CANCELLING)


@dataclass(frozen=True)
class StepStatus:
    """One step of a command on one instance. `seconds` is None until the step has ended."""

    task: str
    word: Word
    exit_code: int | None = None
    seconds: float | None = None
    last_line: str = ""


def in_order(
    steps: Sequence[StepStatus], order: Sequence[str], optional: Collection[str] = ()
) -> tuple[StepStatus, ...]:
    """`steps` in the command's order, everything after the first failure marked as not run.

    Failures of `optional` tasks stop nothing. SSM reports a step that the agent left out after a failure as a success,
    with exit code 0 (amazon-ssm-agent, agent/framework/runpluginutil/runpluginutil.go).
    """
    places = {name: place for place, name in enumerate(order)}
    arranged, stopped = [], False
    for step in sorted(steps, key=lambda step: places.get(step.task, len(places))):
        arranged.append(replace(step, word=Word.NOT_RUN, seconds=None, last_line="") if stopped else step)
        stopped = stopped or (step.word.stopped and step.task not in optional)
    return tuple(arranged)


def first_failed(steps: Sequence[StepStatus], optional: Collection[str] = ()) -> StepStatus | None:
    """The step that stopped the run, if one did."""
    return next((step for step in steps if step.word.stopped and step.task not in optional), None)
