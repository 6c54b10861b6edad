"""What tasks on a machine note of themselves, and what that says of a run that was killed, cut off and rebooted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.functional.light import RAN
from tests.unit.setup_support import task


def noting(name: str, seconds: float, **more: Any) -> dict[str, Any]:
    """A task that notes when it begins and ends."""
    return task(name, f"echo 'begin {name}' >>{RAN}", f"sleep {seconds}", f"echo 'end {name}' >>{RAN}", **more)


@dataclass(frozen=True)
class Story:
    """What a machine's notes say: how many of the tasks never ended, began in the wrong place, or began once more
    although nothing had stopped them."""

    lost: int
    misplaced: int
    twice: int
    again: int


def read(notes: str, expected: Sequence[str], reboots: int) -> Story:
    """The story of `expected` tasks in a machine's notes.

    A task that a reboot stopped has no mark and runs again; so may one that it stopped between its last line and its
    mark. So each reboot excuses one that begins once more, where it was: nothing else does.
    """
    ended: list[str] = []
    at, misplaced, again = -1, 0, 0
    for line in notes.splitlines():
        what, _, name = line.partition(" ")
        if what == "end":
            ended.append(name)
            continue
        place = expected.index(name) if name in expected else -2
        if place == at:
            again += 1
        elif place != at + 1:
            misplaced += 1
        at = max(at, place)
    lost = sum(name not in ended for name in expected)
    return Story(lost, misplaced, max(again - reboots, 0), again)
