"""Runs child processes to completion, despite signals.

The terminal sends Ctrl-C to the child as well. Terraform then completes the operations in progress, writes its state
and releases its lock; its parent has to wait for that. The same holds for SIGTERM, which a CI system sends to cancel a
job. SIGHUP, sent when the terminal closes, would end Terraform at once.
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
    """The exit status and the output of a process."""

    status: int
    stdout: str
    stderr: str


def run_to_completion(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None] = lambda line: None,
) -> Finished:
    """Run `command` in `folder`, and call `on_line` with each line of its output.

    Ctrl-C raises KeyboardInterrupt, and SIGTERM and SIGHUP end this process, only after the child has exited.
    """
    interrupted = False
    lines: list[str] = []
    with tempfile.TemporaryFile("w+", errors="replace") as errors, _signals_deferred() as defer_hangup:
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
        defer_hangup()
        while process.returncode is None:
            try:
                for line in process.stdout or ():
                    lines.append(line)
                    _report(on_line, line)
                process.wait()
            except KeyboardInterrupt:
                if not interrupted:
                    _report(display.note, f"Interrupted: waiting for {command[0]} to exit.")
                interrupted = True
        errors.seek(0)
        stderr = errors.read()
    if interrupted:
        raise KeyboardInterrupt
    return Finished(process.returncode, "".join(lines), stderr)


def _report(on_line: Callable[[str], None], line: str) -> None:
    """Call `on_line`, and ignore a closed terminal or pipe, for which Rich would end this process."""
    with contextlib.suppress(OSError, SystemExit):
        on_line(line)


@contextlib.contextmanager
def _signals_deferred() -> Iterator[Callable[[], None]]:
    """Defer SIGTERM and SIGHUP to the end of the block.

    SIGHUP is ignored until the yielded function is called, so that a child started before inherits that and ignores
    it. Has no effect outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    deferred = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}

    def listen() -> None:
        for number in deferred:
            signal.signal(number, lambda number, _: received.append(number))

    listen()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield listen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            os.kill(os.getpid(), received[0])
