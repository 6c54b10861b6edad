"""What a part did and found, counted run by run, and the table of all parts that `make check-faults` ends with."""

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
"""The number of the one run to play, of all that would be."""

_SHOWN_BROKEN = 5
_PROGRESS_SECONDS = 10.0


@dataclass
class Found:
    """What one run did and found. Harms are what must not be; `again`: how often the command was given once more."""

    did: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    harms: Counter[str] = field(default_factory=Counter)
    again: int = 0
    broken: str = ""

    @property
    def is_sound(self) -> bool:
        return not (self.broken or any(self.harms.values()))


@dataclass
class Tally:
    """One part of the whole, or with `what` one of several in a part.

    `harms` names everything it looks for, so that nothing found reads as 0.
    """

    part: str
    harms: Sequence[str]
    what: str = ""
    did: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    harmed: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    alone: int = 0
    most_again: int = 0
    broken: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    _begun: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)

    def take(self, number: int, found: Found, *, of: int | None = None) -> None:
        """Count what the run of this number found, and say from time to time how far it all is."""
        unknown = found.harms.keys() - set(self.harms)
        assert not unknown, f"nobody said that {unknown} is looked for"
        self.runs += 1
        self.did += found.did
        self.seen += found.seen
        self.harmed += found.harms
        self.alone += found.again == 0
        self.most_again = max(self.most_again, found.again)
        self.seconds = time.monotonic() - self._begun
        if not found.is_sound:
            told = ", ".join(f"{name} {count}" for name, count in found.harms.items() if count)
            done = "after " + (", ".join(f"{name} {count}" for name, count in found.did.items()) or "nothing")
            self.broken[number] = "\n".join(filter(None, (told, done, found.broken)))
            print(
                f"\n{self.part}: run {number} went wrong: {self.broken[number]}\n{self.alone_again(number)}", flush=True
            )
        if not found.is_sound or of == self.runs or time.monotonic() - self._told > _PROGRESS_SECONDS:
            self._told = time.monotonic()
            runs = f"{self.runs} of {of} runs" if of else f"{self.runs} runs"
            print(f"{self.name}: {runs}, {self.seconds:.0f} s, {len(self.broken)} wrong", flush=True)

    @property
    def name(self) -> str:
        return ", ".join(filter(None, (self.part, self.what)))

    def alone_again(self, number: int) -> str:
        """The command that plays one run by itself."""
        return f"By itself: make check-faults SEED={SEED} PART={self.part} ONLY={number}"

    def check(self) -> None:
        """Fail when anything was found that must not be, saying in which runs and how to play them again."""
        shown = list(self.broken.items())[:_SHOWN_BROKEN]
        told = "\n\n".join(f"run {number}: {what}\n{self.alone_again(number)}" for number, what in shown)
        assert not self.broken, f"{len(self.broken)} of {self.runs} runs of {self.name} went wrong\n{told}"
        assert self.runs, "nothing was run"


def chance_of(part: str, number: int) -> random.Random:
    """The chances of a run, which depend on nothing else."""
    return random.Random(f"{SEED} {part} {number}")


def numbers(count: int) -> list[int]:
    """The numbers of the runs to play: all of `count`, or the one that was asked for."""
    return [int(ONLY)] if ONLY else list(range(1, count + 1))


def guarded(run: Callable[[int], Found], number: int) -> Found:
    """What a run found; one that raises is broken, and the next ones are played all the same."""
    try:
        return run(number)
    except Exception:
        return Found(broken=traceback.format_exc())


def print_summary(tallies: Iterable[Tally], console: Console) -> None:
    """One table of all parts."""
    table = Table(title=f"What was done to it, and what came of it (seed {SEED})", show_lines=True)
    for heading in ("part", "runs", "done to them", "came of it", "must not be", "seconds"):
        table.add_column(heading, justify="right" if heading in ("runs", "seconds") else "left", overflow="fold")
    for one in tallies:
        again = [
            f"{one.alone} ended at the first go",
            f"{one.runs - one.alone} taken up, at most {one.most_again} times",
        ]
        came = [*again, *(f"{name} {count}" for name, count in sorted(one.seen.items()))]
        harms = [f"{name} {one.harmed[name]}" for name in one.harms] + [f"[bold]wrong runs {len(one.broken)}[/bold]"]
        done = [f"{name} {count}" for name, count in sorted(one.did.items())]
        table.add_row(one.name, str(one.runs), "\n".join(done), "\n".join(came), "\n".join(harms), f"{one.seconds:.0f}")
    console.print(table)
    for one in tallies:
        for number in one.broken:
            console.print(one.alone_again(number), soft_wrap=True)
