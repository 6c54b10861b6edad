"""Facts about processes, from /proc."""

import contextlib
from pathlib import Path

_PROC = Path("/proc")


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: with the pid it names one process for good. None:
    gone.
    """
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field, the program's name in parentheses, may itself hold spaces and parentheses.
    return int(text.rpartition(")")[2].split()[19])


def children(pid: int) -> list[int]:
    """The processes that a process's main thread has started and that still run."""
    file = _PROC / str(pid) / "task" / str(pid) / "children"
    with contextlib.suppress(OSError):
        return [int(child) for child in file.read_text().split()]
    return []


def program(pid: int) -> str:
    """The file name of what a process runs, empty when it is gone."""
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "exe").readlink().name
    return ""


def group_in_namespace_of(group: int, neighbour: int) -> bool:
    """Whether a process group with this id has a member in the pid namespace that `neighbour` is in."""
    with contextlib.suppress(OSError):
        namespace = (_PROC / str(neighbour) / "ns" / "pid").readlink()
        return any(_is_member(process, group, namespace) for process in _PROC.glob("[0-9]*"))
    return False


def _is_member(process: Path, group: int, namespace: Path) -> bool:
    with contextlib.suppress(OSError):
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return int(fields[2]) == group and (process / "ns" / "pid").readlink() == namespace
    return False
