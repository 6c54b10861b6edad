"""Child processes that must not be abandoned half way.

Ctrl-C reaches a child as well, from the terminal. Terraform then finishes what it has begun, writes its
state and gives its lock back; a parent that ended first would take its output away and lose all three. SIGTERM is the
same from a CI system that cancels a job; SIGHUP, from a terminal that is closed, would end Terraform at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torchneuron.core import display


@dataclass(frozen=True)
class Finished:
    """A process that has ended, and all it wrote."""

    status: int
    stdout: str
    stderr: str


def run_to_its_end(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None] = lambda line: None,
) -> Finished:
    """Run `command` in `folder`, handing on each line of its output as it comes, for as long as anybody reads it.

    Raises KeyboardInterrupt for a Ctrl-C meanwhile, but only once the process has ended by itself; SIGTERM and SIGHUP
    end this process, but not before either.
    """
    interrupted = False
    lines: list[str] = []
    with tempfile.TemporaryFile("w+", errors="replace") as errors, _ending_later() as begun:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
        )
        begun()
        while process.returncode is None:
            try:
                for line in process.stdout or ():
                    lines.append(line)
                    _tell(on_line, line)
                process.wait()
            except KeyboardInterrupt:
                if not interrupted:
                    _tell(display.note, f"Interrupted: {command[0]} finishes what it has begun.")
                interrupted = True
        errors.seek(0)
        stderr = errors.read()
    if interrupted:
        raise KeyboardInterrupt
    return Finished(process.returncode, "".join(lines), stderr)


def _tell(told: Callable[[str], None], line: str) -> None:
    """Tell it, unless the terminal or the pipe it goes to is gone: then Rich would end this process."""
    with contextlib.suppress(OSError, SystemExit):
        told(line)


@contextlib.contextmanager
def _ending_later() -> Iterator[Callable[[], None]]:
    """Put off the signals that end this process to the end of the block.

    SIGHUP is ignored until the function given is called: what is started before ignores it for good. Only the main
    thread can do any of this.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    kept = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}

    def listen() -> None:
        for number in kept:
            signal.signal(number, lambda number, _: came.append(number))

    listen()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield listen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            os.kill(os.getpid(), came[0])
