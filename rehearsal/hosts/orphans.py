"""Removes the sandboxes of rehearsals that were killed: their folders, and the commands that still run in them.

The name of a sandbox's folder contains the pid and the start time of its owner, and the commands in it have the
folder's path in their environment. So orphans can be found without a record that could be missing or stale.
`hosts.cgroups` does the same for hosts.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rehearsal.hosts import processes

VARIABLE = "TORCHNEURON_REHEARSAL_FOLDER"
"""Marks a sandbox's commands and their children. Not for a user's own shell, which would be killed."""

_NAME = re.compile(r"torchneuron-rehearsal-(?P<pid>\d+)-(?P<started>\d+)-.+")
_KILL_SECONDS = 10.0
_POLL = 0.02


def new_sandbox_folder() -> Path:
    """Create a folder for a sandbox that this process owns."""
    pid = os.getpid()
    return Path(tempfile.mkdtemp(prefix=f"torchneuron-rehearsal-{pid}-{processes.start_time(pid)}-"))


def remove_sandboxes() -> list[Path]:
    """Kill what runs in sandboxes whose owner has ended, remove their folders, and return the folders' paths."""
    orphans = [path for path in Path(tempfile.gettempdir()).glob("torchneuron-rehearsal-*") if _is_orphan(path)]
    for folder in orphans:
        _kill_all(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return orphans


def _is_orphan(folder: Path) -> bool:
    owner = _NAME.fullmatch(folder.name)
    return owner is not None and processes.start_time(int(owner["pid"])) != int(owner["started"])


def _kill_all(folder: Path) -> None:
    """Repeat until none is left: a process may start another between two looks."""
    deadline = time.monotonic() + _KILL_SECONDS
    while (found := list(_marked(folder))) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL)


def _marked(folder: Path) -> Iterator[int]:
    mark = f"{VARIABLE}={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                yield int(process.name)
