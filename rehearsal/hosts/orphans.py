"""What a sandbox leaves whose owner was killed outright, and what removes it: the next rehearsal, when it starts.

A sandbox is a folder, named after the process that owns it and the time that process started, and commands that have
the folder's path in their environment. So what was left can be told from what a living rehearsal uses, and there is
no record that could be missing or stale; `hosts.cgroups` does the same for hosts.
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
"""The environment variable that marks a sandbox's commands and their children. Not for a user's own shell."""

_NAME = re.compile(r"torchneuron-rehearsal-(?P<pid>\d+)-(?P<started>\d+)-.+")
_END_SECONDS = 10.0
_POLL = 0.02


def new_sandbox_folder() -> Path:
    """A folder for a sandbox that this process owns."""
    pid = os.getpid()
    return Path(tempfile.mkdtemp(prefix=f"torchneuron-rehearsal-{pid}-{processes.start_time(pid)}-"))


def remove_sandboxes() -> list[Path]:
    """End what still runs in sandboxes whose owner is gone, remove their folders, and give their paths."""
    abandoned = [path for path in Path(tempfile.gettempdir()).glob("torchneuron-rehearsal-*") if _is_abandoned(path)]
    for folder in abandoned:
        _end_all(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return abandoned


def _is_abandoned(folder: Path) -> bool:
    owner = _NAME.fullmatch(folder.name)
    return owner is not None and processes.start_time(int(owner["pid"])) != int(owner["started"])


def _end_all(folder: Path) -> None:
    """Kill until none is left: one that is about to start another is not seen twice."""
    deadline = time.monotonic() + _END_SECONDS
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
