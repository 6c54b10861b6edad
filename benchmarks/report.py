"""What was measured, as a table, and what it was measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from benchmarks.pairs import Figures, Measured
from torchneuron.core import display

HEADINGS = ("What", "The usual way", ">Ours, s", ">Usual, s", ">Ratio", ">Claimed", "Holds")


def show(measured: Sequence[Measured], *, rounds: int, load_before: float) -> None:
    display.table(HEADINGS, [_row(one) for one in measured])
    display.say("Each figure is the shortest / the median. A claim holds by the ratio of the shortest.")
    display.facts(
        [
            ("Rounds", f"{rounds}, by turns, after one to warm up; of what takes minutes, one"),
            ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
            ("Cores", str(os.cpu_count())),
            ("Load", f"{load_before:.2f} before, {os.getloadavg()[0]:.2f} after (average of a minute)"),
        ]
    )
    for one in measured:
        if remark := one.pair.remark():
            display.say(f"{one.pair.what}: {remark}")
    broken = [one.pair.what for one in measured if not one.holds]
    if broken:
        display.warn(f"Not as claimed: {', '.join(broken)}.")


def _row(one: Measured) -> tuple[str, ...]:
    return (
        one.pair.what,
        one.pair.against,
        _two(one.ours, digits=3),
        _two(one.usual, digits=3),
        _two(one.ratio, digits=2),
        f"at most {one.pair.at_most:.2f}",
        "yes" if one.holds else "NO",
    )


def _two(figures: Figures, *, digits: int) -> str:
    return f"{figures.shortest:.{digits}f} / {figures.median:.{digits}f}"
