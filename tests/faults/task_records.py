"""Tasks that record on their machine when they begin and end, and checks of these records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.functional.light import RAN
from tests.unit.setup_support import task


def recording_task(name: str, seconds: float, **more: Any) -> dict[str, Any]:
    """A task that records its begin and end."""
    return task(name, f"echo 'begin {name}' >>{RAN}", f"sleep {seconds}", f"echo 'end {name}' >>{RAN}", **more)


@dataclass(frozen=True)
class TaskCounts:
    """How many tasks of a machine never ended, ran out of order, ran again without a reboot, and ran again at all."""

    lost: int
    misplaced: int
    repeated: int
    restarted: int


def count(records: str, expected: Sequence[str], reboots: int) -> TaskCounts:
    """Count the records of the `expected` tasks.

    A task that a reboot stopped before it was marked as done runs again. So each reboot permits one repeated task.
    """
    ended: list[str] = []
    last, misplaced, restarted = -1, 0, 0
    for line in records.splitlines():
        event, _, name = line.partition(" ")
        if event == "end":
            ended.append(name)
            continue
        place = expected.index(name) if name in expected else -2
        if place == last:
            restarted += 1
        elif place != last + 1:
            misplaced += 1
        last = max(last, place)
    lost = sum(name not in ended for name in expected)
    return TaskCounts(lost, misplaced, max(restarted - reboots, 0), restarted)
