"""The resources that a process uses, read from /proc to find leaks."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Resources of a process and its descendants. `memory` is the process's own resident memory in MiB."""

    processes: int
    threads: int
    files: int
    mounts: int
    memory: int

    def growth_since(self, other: Usage) -> dict[str, int]:
        """The increase of each count, without memory."""
        counted = ("processes", "threads", "files", "mounts")
        return {name: max(getattr(self, name) - getattr(other, name), 0) for name in counted}


def usage(pid: int) -> Usage:
    own = Path("/proc") / str(pid)
    pages = int((own / "statm").read_text().split()[1])
    return Usage(
        processes=len(_family(pid)),
        threads=len([*(own / "task").iterdir()]),
        files=len([*(own / "fd").iterdir()]),
        mounts=len((own / "mounts").read_text().splitlines()),
        memory=pages * 4096 // 2**20,
    )


def _family(pid: int) -> list[int]:
    """The process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            # The name in parentheses may contain anything.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found
