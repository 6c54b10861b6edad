"""Facts about processes, from /proc, and a process that ends with its parent."""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

from rehearsal.hosts.errors import HostError

_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot. None: it has ended, perhaps as a zombie.

    Together with the pid it identifies a process: pids are reused.
    """
    try:
        fields = _stat(_PROC / str(pid))
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def children(pid: int) -> list[int]:
    """The running child processes that a process's main thread started."""
    file = _PROC / str(pid) / "task" / str(pid) / "children"
    with contextlib.suppress(OSError):
        return [int(child) for child in file.read_text().split()]
    return []


def program(pid: int) -> str:
    """The file name of a process's program, empty when the process has ended."""
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "exe").readlink().name
    return ""


def group_in_namespace_of(group: int, neighbor: int) -> bool:
    """Whether a process group has a member in the pid namespace of process `neighbor`."""
    with contextlib.suppress(OSError):
        namespace = (_PROC / str(neighbor) / "ns" / "pid").readlink()
        return any(_is_member(process, group, namespace) for process in _PROC.glob("[0-9]*"))
    return False


def end_with_parent() -> None:
    """Have the kernel send this process SIGTERM when its parent ends, even by SIGKILL. Raises HostError.

    The kernel watches the thread that started this process, not the whole parent: prctl(2), PR_SET_PDEATHSIG.
    """
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise HostError(
            "The parent process can't be watched",
            why=os.strerror(ctypes.get_errno()),
            remedy="Leave --with-parent out.",
        )
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def _is_member(process: Path, group: int, namespace: Path) -> bool:
    with contextlib.suppress(OSError):
        return int(_stat(process)[2]) == group and (process / "ns" / "pid").readlink() == namespace
    return False


def _stat(process: Path) -> list[str]:
    """The fields of /proc/PID/stat from the third on. Raises OSError."""
    # The second field, the program's name in parentheses, may itself contain spaces and parentheses.
    return (process / "stat").read_text().rpartition(")")[2].split()
