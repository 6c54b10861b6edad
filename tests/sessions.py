"""Processes that tests start in their own session, and end with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TIMEOUT = 300


def running_in_session(leader: int) -> list[int]:
    """The running processes of the session that `leader` started."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            # The name in parentheses may contain anything.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            state, session = fields[0], int(fields[3])
            if session == leader and state not in "ZX":
                found.append(int(entry.name))
    return found


def await_end(process: subprocess.Popen[Any]) -> None:
    """Wait until the process, a session leader, and everything in its session have ended."""
    end = time.monotonic() + _TIMEOUT
    process.wait(_TIMEOUT)
    while running_in_session(process.pid):
        assert time.monotonic() < end, f"still running: {running_in_session(process.pid)}"
        time.sleep(0.05)


@contextmanager
def session(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a command in its own session, and kill all processes of the session at the end."""
    with subprocess.Popen(arguments, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            for pid in running_in_session(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await_end(process)
