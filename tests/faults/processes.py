"""What a process holds, read from /proc: for telling whether it leaks."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Held:
    """What a process and its children hold at a moment. `memory`: the process's own resident memory, MiB."""

    processes: int
    threads: int
    files: int
    mounts: int
    memory: int

    def beyond(self, other: Held) -> dict[str, int]:
        """How much more there is than at another moment, of all but memory."""
        counted = ("processes", "threads", "files", "mounts")
        return {name: max(getattr(self, name) - getattr(other, name), 0) for name in counted}


def held(pid: int) -> Held:
    own = Path("/proc") / str(pid)
    pages = int((own / "statm").read_text().split()[1])
    return Held(
        processes=len(_family(pid)),
        threads=len([*(own / "task").iterdir()]),
        files=len([*(own / "fd").iterdir()]),
        mounts=len((own / "mounts").read_text().splitlines()),
        memory=pages * 4096 // 2**20,
    )


def _family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            # What stands in brackets may hold anything.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found
