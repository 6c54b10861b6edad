"""Display a run on a terminal, updated in place: a table of tasks for one machine, a matrix for several."""

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
from torchneuron.setup.failures import summary
from torchneuron.setup.plan import Plan
from torchneuron.setup.steps import Monitor, Outcome, StepState, StepStatus

_COLOURS = {StepState.RUNNING: "cyan", StepState.DONE: "green", StepState.FAILED: "red", StepState.TIMED_OUT: "red"}
_SIGNS = {
    StepState.WAITING: ".",
    StepState.RUNNING: ">",
    StepState.DONE: "+",
    StepState.FINISHED_BEFORE: "=",
    StepState.SKIPPED: "-",
    StepState.FAILED: "X",
    StepState.TIMED_OUT: "T",
    StepState.CANCELLING: "c",
    StepState.CANCELLED: "C",
    StepState.NOT_RUN: " ",
}
# Terminal lines that are not rows of the matrix: headings, legend, notes above.
_FRAME = 4


@contextmanager
def live_monitor(*, several: bool) -> Iterator[Monitor]:
    """A monitor that draws on the terminal of standard error."""
    console = display.console(stderr=True)
    with Live(console=console, refresh_per_second=4) as live:
        yield Matrix(live) if several else TaskTable(live)


class _LiveMonitor:
    """Base of both tables. Permanent lines go above the part that is updated."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def sent(self, command_id: str, instance_ids: Sequence[str], *, attached: bool) -> None:
        where = "" if len(instance_ids) == 1 else f" to {summary(instance_ids)}"
        self.note(f"Attached to SSM command {command_id}" if attached else f"Sent{where} as SSM command {command_id}")

    def note(self, text: str) -> None:
        self._live.console.print(text, soft_wrap=True)


class TaskTable(_LiveMonitor):
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
        # Discards the steps of a run that this one attached to.
        self._steps = {}
        self._draw()

    def progress(self, instance_id: str, steps: Sequence[StepStatus]) -> None:
        for step in steps:
            self._steps[step.task] = step
            if step.state is StepState.RUNNING:
                self._since.setdefault(step.task, time.monotonic())
        self._draw()

    def ended(self, outcome: Outcome) -> None:
        """Nothing to add: the table shows it."""

    def _draw(self) -> None:
        table = Table("task", "status", Column("seconds", justify="right"), "last line", box=None, pad_edge=False)
        for name in self._names or list(self._steps):
            table.add_row(plain(name), *self._cells(name))
        self._live.update(table)

    def _cells(self, name: str) -> tuple[Text, Text, Text]:
        if name in self._skipped:
            return Text("skipped", style="dim"), Text(""), Text(self._skipped[name], style="dim")
        step = self._steps.get(name) or StepStatus(name, StepState.WAITING)
        seconds = step.seconds
        if seconds is None and name in self._since and not step.state.is_terminal:
            seconds = time.monotonic() - self._since[name]
        return (
            Text(step.state.value, style=_COLOURS.get(step.state, "dim")),
            Text("" if seconds is None else f"{seconds:.1f}"),
            Text(plain(step.last_line), overflow="ellipsis", no_wrap=True),
        )


class Matrix(_LiveMonitor):
    """Machines by tasks, with a sign for each state; if the terminal is too small, the number of machines by state."""

    def __init__(self, live: Live) -> None:
        super().__init__(live)
        self._tasks: list[str] = []
        self._states: dict[str, dict[str, StepState]] = {}
        self._endings: dict[str, str] = {}

    def planned(self, plans: Mapping[str, Plan]) -> None:
        self._states = {}
        for instance_id, plan in plans.items():
            self._tasks = self._tasks or [step.task.id for step in plan.steps]
            planned = {
                step.task.id: StepState.WAITING if step.runs else StepState.FINISHED_BEFORE for step in plan.steps
            }
            self._states[instance_id] = planned
        self._draw()

    def progress(self, instance_id: str, steps: Sequence[StepStatus]) -> None:
        self._states.setdefault(instance_id, {}).update({step.task: step.state for step in steps})
        self._draw()

    def ended(self, outcome: Outcome) -> None:
        self._endings[outcome.instance_id] = "FAILED" if outcome.failure else "set up"
        self._states.setdefault(outcome.instance_id, {})
        self._draw()

    def _draw(self) -> None:
        tasks = self._tasks or list(dict.fromkeys(task for states in self._states.values() for task in states))
        fits = len(self._states) + _FRAME <= self._live.console.height
        self._live.update(self._matrix(tasks) if fits else self._counts(tasks))

    def _matrix(self, tasks: Sequence[str]) -> Table:
        seen = {state for states in self._states.values() for state in states.values()}
        legend = "  ".join(f"{sign} {state.value}" for state, sign in _SIGNS.items() if sign.strip() and state in seen)
        table = Table("machine", *_short(tasks), "", box=None, pad_edge=False, padding=(0, 1, 0, 0), caption=legend)
        for instance_id, states in self._states.items():
            signs = [self._sign(states.get(task, StepState.WAITING)) for task in tasks]
            table.add_row(instance_id, *signs, self._endings.get(instance_id, ""))
        return table

    def _counts(self, tasks: Sequence[str]) -> Table:
        table = Table("task", f"of {len(self._states)} machines", box=None, pad_edge=False)
        for task in tasks:
            counted = Counter(states.get(task, StepState.WAITING) for states in self._states.values())
            table.add_row(task, ", ".join(f"{counted[state]} {state.value}" for state in StepState if counted[state]))
        return table

    def _sign(self, state: StepState) -> Text:
        return Text(_SIGNS[state], style=_COLOURS.get(state, ""))


def _short(tasks: Sequence[str]) -> list[str]:
    """Column headings: the first two characters of the ids if these are unique, otherwise numbers."""
    short = [task[:2] for task in tasks]
    return short if len(set(short)) == len(tasks) else [str(number) for number in range(1, len(tasks) + 1)]
