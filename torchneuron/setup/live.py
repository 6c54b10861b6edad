"""A run on a terminal, redrawn in place: one machine as a table of its tasks, several as a matrix."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from torchneuron.core import display
from torchneuron.core.text import plain
from torchneuron.setup.failures import named
from torchneuron.setup.monitor import Monitor, Outcome
from torchneuron.setup.plan import Plan
from torchneuron.setup.steps import StepStatus, Word

_COLOURS = {Word.RUNNING: "cyan", Word.DONE: "green", Word.FAILED: "red", Word.TIMED_OUT: "red"}
_SIGNS = {
    Word.WAITING: ".",
    Word.RUNNING: ">",
    Word.DONE: "+",
    Word.FINISHED_BEFORE: "=",
    Word.SKIPPED: "-",
    Word.FAILED: "X",
    Word.TIMED_OUT: "T",
    Word.CANCELLING: "c",
    Word.CANCELLED: "C",
    Word.NOT_RUN: " ",
}
# Lines of a terminal that are not rows: the headings, the legend, and what stands above.
_FRAME = 4


@contextmanager
def live_monitor(*, several: bool) -> Iterator[Monitor]:
    """A monitor that draws on standard error's terminal."""
    console = display.console(stderr=True)
    with Live(console=console, refresh_per_second=4) as live:
        yield Matrix(live) if several else TaskTable(live)


class _Drawn:
    """What both tables share: lines that stay go above what is redrawn."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def sent(self, command_id: str, instance_ids: Sequence[str], *, attached: bool) -> None:
        where = "" if len(instance_ids) == 1 else f" to {named(instance_ids)}"
        self.told(f"Attached to SSM command {command_id}" if attached else f"Sent{where} as SSM command {command_id}")

    def told(self, text: str) -> None:
        self._live.console.print(text, soft_wrap=True)


class TaskTable(_Drawn):
    """One machine's tasks: status, seconds, the last line of output."""

    def __init__(self, live: Live) -> None:
        super().__init__(live)
        self._names: list[str] = []
        self._skipped: dict[str, str] = {}
        self._steps: dict[str, StepStatus] = {}
        self._since: dict[str, float] = {}

    def planned(self, plans: Mapping[str, Plan]) -> None:
        for plan in plans.values():
            self._names = [step.task.id for step in plan.steps]
            self._skipped = {step.task.id: step.reason for step in plan.steps if not step.runs}
        # What was attached to before was another run's.
        self._steps = {}
        self._draw()

    def progress(self, instance_id: str, steps: Sequence[StepStatus]) -> None:
        for step in steps:
            self._steps[step.task] = step
            if step.word is Word.RUNNING:
                self._since.setdefault(step.task, time.monotonic())
        self._draw()

    def ended(self, outcome: Outcome) -> None:
        """All of it is in the table."""

    def _draw(self) -> None:
        table = Table("task", "status", Column("seconds", justify="right"), "last line", box=None, pad_edge=False)
        for name in self._names or list(self._steps):
            table.add_row(plain(name), *self._cells(name))
        self._live.update(table)

    def _cells(self, name: str) -> tuple[Text, Text, Text]:
        if name in self._skipped:
            return Text("skipped", style="dim"), Text(""), Text(self._skipped[name], style="dim")
        step = self._steps.get(name) or StepStatus(name, Word.WAITING)
        seconds = step.seconds
        if seconds is None and name in self._since and not step.word.ended:
            seconds = time.monotonic() - self._since[name]
        return (
            Text(step.word.value, style=_COLOURS.get(step.word, "dim")),
            Text("" if seconds is None else f"{seconds:.1f}"),
            Text(plain(step.last_line), overflow="ellipsis", no_wrap=True),
        )


class Matrix(_Drawn):
    """Several machines by their tasks: a sign for each; where they don't fit, how many machines are how far."""

    def __init__(self, live: Live) -> None:
        super().__init__(live)
        self._tasks: list[str] = []
        self._words: dict[str, dict[str, Word]] = {}
        self._endings: dict[str, str] = {}

    def planned(self, plans: Mapping[str, Plan]) -> None:
        self._words = {}
        for instance_id, plan in plans.items():
            self._tasks = self._tasks or [step.task.id for step in plan.steps]
            planned = {step.task.id: Word.WAITING if step.runs else Word.FINISHED_BEFORE for step in plan.steps}
            self._words[instance_id] = planned
        self._draw()

    def progress(self, instance_id: str, steps: Sequence[StepStatus]) -> None:
        self._words.setdefault(instance_id, {}).update({step.task: step.word for step in steps})
        self._draw()

    def ended(self, outcome: Outcome) -> None:
        self._endings[outcome.instance_id] = "FAILED" if outcome.failure else "set up"
        self._words.setdefault(outcome.instance_id, {})
        self._draw()

    def _draw(self) -> None:
        tasks = self._tasks or list(dict.fromkeys(task for words in self._words.values() for task in words))
        fits = len(self._words) + _FRAME <= self._live.console.height
        self._live.update(self._matrix(tasks) if fits else self._counts(tasks))

    def _matrix(self, tasks: Sequence[str]) -> Table:
        seen = {word for words in self._words.values() for word in words.values()}
        legend = "  ".join(f"{sign} {word.value}" for word, sign in _SIGNS.items() if sign.strip() and word in seen)
        table = Table("machine", *_short(tasks), "", box=None, pad_edge=False, padding=(0, 1, 0, 0), caption=legend)
        for instance_id, words in self._words.items():
            signs = [self._sign(words.get(task, Word.WAITING)) for task in tasks]
            table.add_row(instance_id, *signs, self._endings.get(instance_id, ""))
        return table

    def _counts(self, tasks: Sequence[str]) -> Table:
        table = Table("task", f"of {len(self._words)} machines", box=None, pad_edge=False)
        for task in tasks:
            counted = Counter(words.get(task, Word.WAITING) for words in self._words.values())
            table.add_row(task, ", ".join(f"{counted[word]} {word.value}" for word in Word if counted[word]))
        return table

    def _sign(self, word: Word) -> Text:
        return Text(_SIGNS[word], style=_COLOURS.get(word, ""))


def _short(tasks: Sequence[str]) -> list[str]:
    """Column headings: what the ids begin with, where that tells them apart (01, 02, …)."""
    short = [task[:2] for task in tasks]
    return short if len(set(short)) == len(tasks) else [str(number) for number in range(1, len(tasks) + 1)]
