"""Counts of injected faults, outcomes and violations per part, and the table at the end of `make check-faults`."""

from __future__ import annotations

import os
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

THOROUGH = "TORCHNEURON_THOROUGH" in os.environ
SEED = os.environ.get("TORCHNEURON_SEED", "1")
ONLY = os.environ.get("TORCHNEURON_ONLY", "")
"""The number of the only run to do; empty for all."""

_SHOWN_FAILURES = 5
_PROGRESS_SECONDS = 10.0


@dataclass
class RunResult:
    """The result of one run. `retries`: how often the command was repeated; `failure`: what failed, as text."""

    injected: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    failure: str = ""

    @property
    def is_sound(self) -> bool:
        return not (self.failure or any(self.violations.values()))


@dataclass
class Tally:
    """The results of a part, or of its subset `what`.

    `violations` names all that the part checks for, so that the table shows 0 for those not found.
    """

    part: str
    violations: Sequence[str]
    what: str = ""
    injected: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    violated: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    first_try: int = 0
    max_retries: int = 0
    failures: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    _started: float = field(default_factory=time.monotonic)
    _reported: float = field(default_factory=time.monotonic)

    def add(self, number: int, result: RunResult, *, total: int | None = None) -> None:
        """Add the result of a run, and print the progress from time to time."""
        unknown = result.violations.keys() - set(self.violations)
        assert not unknown, f"undeclared violations: {unknown}"
        self.runs += 1
        self.injected += result.injected
        self.outcomes += result.outcomes
        self.violated += result.violations
        self.first_try += result.retries == 0
        self.max_retries = max(self.max_retries, result.retries)
        self.seconds = time.monotonic() - self._started
        if not result.is_sound:
            violations = ", ".join(f"{name} {count}" for name, count in result.violations.items() if count)
            injected = "after " + (", ".join(f"{name} {count}" for name, count in result.injected.items()) or "nothing")
            self.failures[number] = "\n".join(filter(None, (violations, injected, result.failure)))
            print(f"\n{self.part}: run {number} failed: {self.failures[number]}\n{self.rerun_hint(number)}", flush=True)
        if not result.is_sound or total == self.runs or time.monotonic() - self._reported > _PROGRESS_SECONDS:
            self._reported = time.monotonic()
            runs = f"{self.runs} of {total} runs" if total else f"{self.runs} runs"
            print(f"{self.name}: {runs}, {self.seconds:.0f} s, {len(self.failures)} failed", flush=True)

    @property
    def name(self) -> str:
        return ", ".join(filter(None, (self.part, self.what)))

    def rerun_hint(self, number: int) -> str:
        """The command that repeats one run."""
        return f"Repeat: make check-faults SEED={SEED} PART={self.part} ONLY={number}"

    def check(self) -> None:
        """Fail when a run failed, and print how to repeat it."""
        shown = list(self.failures.items())[:_SHOWN_FAILURES]
        report = "\n\n".join(f"run {number}: {failure}\n{self.rerun_hint(number)}" for number, failure in shown)
        assert not self.failures, f"{len(self.failures)} of {self.runs} runs of {self.name} failed\n{report}"
        assert self.runs, "no run was done"


def random_for(part: str, number: int) -> random.Random:
    """The random numbers of a run, which depend only on the seed, the part and the run's number."""
    return random.Random(f"{SEED} {part} {number}")


def run_numbers(count: int) -> list[int]:
    """The numbers of the runs to do: all of `count`, or only `ONLY`."""
    return [int(ONLY)] if ONLY else list(range(1, count + 1))


def guarded(run: Callable[[int], RunResult], number: int) -> RunResult:
    """Do a run; an exception is a failed run, so that the next runs still happen."""
    try:
        return run(number)
    except Exception:
        return RunResult(failure=traceback.format_exc())


def print_summary(tallies: Iterable[Tally], console: Console) -> None:
    """Print one table of all parts."""
    table = Table(title=f"Injected faults and their outcomes (seed {SEED})", show_lines=True)
    for heading in ("part", "runs", "injected", "outcomes", "violations", "seconds"):
        table.add_column(heading, justify="right" if heading in ("runs", "seconds") else "left", overflow="fold")
    for tally in tallies:
        retries = [
            f"{tally.first_try} succeeded at the first try",
            f"{tally.runs - tally.first_try} resumed, at most {tally.max_retries} times",
        ]
        outcomes = [*retries, *(f"{name} {count}" for name, count in sorted(tally.outcomes.items()))]
        violations = [f"{name} {tally.violated[name]}" for name in tally.violations] + [
            f"[bold]failed runs {len(tally.failures)}[/bold]"
        ]
        injected = [f"{name} {count}" for name, count in sorted(tally.injected.items())]
        table.add_row(
            tally.name,
            str(tally.runs),
            "\n".join(injected),
            "\n".join(outcomes),
            "\n".join(violations),
            f"{tally.seconds:.0f}",
        )
    console.print(table)
    for tally in tallies:
        for number in tally.failures:
            console.print(tally.rerun_hint(number), soft_wrap=True)
