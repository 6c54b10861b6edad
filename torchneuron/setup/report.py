"""What a person sees of a plan and a run: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from torchneuron import display
from torchneuron.setup.commands import StepStatus
from torchneuron.setup.plan import Plan
from torchneuron.setup.run import Monitor, Outcome

_WORDS = {
    "Pending": "waiting",
    "Delayed": "waiting",
    "InProgress": "running",
    "Success": "done",
    "Failed": "FAILED",
    "TimedOut": "TIMED OUT",
    "Cancelled": "cancelled",
    "Cancelling": "cancelling",
    "Skipped": "not run",
}
_COLOURS = {"running": "cyan", "done": "green", "FAILED": "red", "TIMED OUT": "red"}


class Lines:
    """One line for each change, for logs and pipes."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._total = 0
        self._done = 0

    def planned(self, plan: Plan) -> None:
        self._total = len(plan.steps)
        skipped = [step for step in plan.steps if not step.runs]
        self._done = len(skipped)
        for step in skipped:
            display.note(f"  {step.task.id:<34} skipped ({step.reason})")

    def sent(self, command_id: str, *, attached: bool) -> None:
        verb = "Attached to the setup under way:" if attached else "Sent as"
        display.note(f"{verb} SSM command {command_id}")

    def progress(self, steps: Sequence[StepStatus]) -> None:
        for step in steps:
            word = _WORDS.get(step.status, step.status)
            if word in ("waiting", "running", "not run") or self._told.get(step.task) == word:
                continue
            self._told[step.task] = word
            self._done += 1
            taken = "" if step.seconds is None else f"{step.seconds:6.1f} s"
            place = f"[{self._done:>2}/{self._total}] " if self._total else ""
            display.note(f"  {place}{step.task:<32} {word:<8} {taken}  {step.last_line}")


class LiveTable:
    """A table that is redrawn in place: task, status, seconds, the last line of its output."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._names: list[str] = []
        self._skipped: dict[str, str] = {}
        self._steps: dict[str, StepStatus] = {}
        self._since: dict[str, float] = {}

    def planned(self, plan: Plan) -> None:
        self._names = [step.task.id for step in plan.steps]
        self._skipped = {step.task.id: step.reason for step in plan.steps if not step.runs}
        self._draw()

    def sent(self, command_id: str, *, attached: bool) -> None:
        verb = "Attached to" if attached else "Sent as"
        self._live.console.print(f"{verb} SSM command {command_id}", highlight=False)

    def progress(self, steps: Sequence[StepStatus]) -> None:
        for step in steps:
            self._steps[step.task] = step
            if step.status == "InProgress":
                self._since.setdefault(step.task, time.monotonic())
        self._draw()

    def _draw(self) -> None:
        table = Table("task", "status", Column("seconds", justify="right"), "last line", box=None, pad_edge=False)
        names = self._names or list(self._steps)
        for name in names:
            table.add_row(name, *self._cells(name))
        self._live.update(table)

    def _cells(self, name: str) -> tuple[Text, Text, Text]:
        if name in self._skipped:
            return Text("skipped", style="dim"), Text(""), Text(self._skipped[name], style="dim")
        step = self._steps.get(name)
        if step is None:
            return Text("waiting", style="dim"), Text(""), Text("")
        word = _WORDS.get(step.status, step.status)
        seconds = step.seconds
        if seconds is None and name in self._since:
            seconds = time.monotonic() - self._since[name]
        taken = Text("" if seconds is None else f"{seconds:.1f}")
        return (
            Text(word, style=_COLOURS.get(word, "dim")),
            taken,
            Text(step.last_line, overflow="ellipsis", no_wrap=True),
        )


@contextmanager
def monitor() -> Iterator[Monitor]:
    """The monitor that fits where standard error goes."""
    console = display.console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    with Live(console=console, refresh_per_second=4) as live:
        yield LiveTable(live)


def show_outcome(outcome: Outcome) -> None:
    skipped = f", {len(outcome.skipped)} already finished" if outcome.skipped else ""
    display.note(f"Setup complete: {len(outcome.ran)} tasks run{skipped}, {outcome.seconds:.0f} s.")


def show_dry_run(plan: Plan, scripts: Mapping[str, str], instance_id: str, syntax: str) -> None:
    """Each script exactly as it would run, secrets masked, and what would be called."""
    for step in plan.steps:
        if step.runs:
            display.say(f"----- {step.task.id}: would run ({step.reason})")
            display.say(scripts[step.task.id].rstrip("\n"))
        else:
            display.say(f"----- {step.task.id}: would be skipped ({step.reason})")
    if not scripts:
        display.say("----- Nothing to do.")
        return
    display.say(f"----- {syntax}")
    calls = f"CreateDocument, SendCommand to {instance_id}, then ListCommandInvocations once a second"
    display.say(f"----- Dry run: nothing was sent. A run would call {calls}.")
