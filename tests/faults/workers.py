"""Parallel runs, since most of a run is waiting. Each worker is a process with its own rehearsal."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import TypeVar

from tests.faults.tally import RunResult, Tally, guarded

Rehearsal = TypeVar("Rehearsal")
Run = Callable[[Rehearsal, int], RunResult]


def do_runs(tally: Tally, numbers: Sequence[int], rehearsals: Sequence[Rehearsal], run: Run[Rehearsal]) -> None:
    """Do the runs with these numbers, one at a time per rehearsal, and add their results to the tally."""
    fork, waiting = multiprocessing.get_context("fork"), list(reversed(numbers))
    workers = {}
    for rehearsal in rehearsals[: len(numbers)]:
        connection, worker_end = fork.Pipe()
        workers[connection] = fork.Process(target=_worker, args=(worker_end, rehearsal, run), daemon=True)
        workers[connection].start()
        worker_end.close()
        connection.send(waiting.pop())
    while workers:
        for ready in wait(list(workers)):
            assert isinstance(ready, Connection)
            number, result = ready.recv()
            tally.add(number, result, total=len(numbers))
            if waiting:
                ready.send(waiting.pop())
            else:
                ready.send(None)
                workers.pop(ready).join()


def _worker(connection: Connection, rehearsal: Rehearsal, run: Run[Rehearsal]) -> None:
    while (number := connection.recv()) is not None:
        connection.send((number, guarded(lambda number: run(rehearsal, number), number)))
