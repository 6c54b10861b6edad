"""Runs played side by side: most of a run is waiting. A lane is a process with an AWS of its own to play them in."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import TypeVar

from tests.faults.tally import Found, Tally, guarded

Place = TypeVar("Place")
Run = Callable[[Place, int], Found]


def play(tally: Tally, numbers: Sequence[int], places: Sequence[Place], run: Run[Place]) -> None:
    """Play the runs of these numbers, as many at a time as there are places for them, and count what each found."""
    fork, waiting = multiprocessing.get_context("fork"), list(reversed(numbers))
    lanes = {}
    for place in places[: len(numbers)]:
        here, there = fork.Pipe()
        lanes[here] = fork.Process(target=_lane, args=(there, place, run), daemon=True)
        lanes[here].start()
        there.close()
        here.send(waiting.pop())
    while lanes:
        for ready in wait(list(lanes)):
            assert isinstance(ready, Connection)
            number, found = ready.recv()
            tally.take(number, found, of=len(numbers))
            if waiting:
                ready.send(waiting.pop())
            else:
                ready.send(None)
                lanes.pop(ready).join()


def _lane(connection: Connection, place: Place, run: Run[Place]) -> None:
    while (number := connection.recv()) is not None:
        connection.send((number, guarded(lambda one: run(place, one), number)))
