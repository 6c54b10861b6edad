"""Runs commands like a user, in this process or on a terminal, and returns their status and output."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from invoke.program import Program

import tasks

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    """The result of a command. `status` is the exit status."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Invoke:
    """Runs `invoke` with arguments and asserts the exit `status`."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, status: int = 0) -> Done:
        self.capsys.readouterr()
        exit_status = 0
        try:
            Program(namespace=tasks.namespace).run(["invoke", *arguments])
        except SystemExit as end:
            exit_status = end.code if isinstance(end.code, int) else 1
        printed = self.capsys.readouterr()
        done = Done(exit_status, printed.out, printed.err)
        assert done.status == status, done
        return done


_QUESTION = re.compile(rb"\[(y/N|Y/n)\] \Z")


def on_a_terminal(
    arguments: Sequence[str], columns: int = 80, *, typed: str = "", ahead: str = "", pipe: bool = False
) -> tuple[int, str, str]:
    """Run a command on a terminal. Each line of `typed` answers a question; `ahead` is typed before the first.

    Returns the exit status, the terminal's content, and standard output, which goes to a pipe with `pipe`.
    """
    answers = typed.splitlines(keepends=True)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=ROOT,
        env={**environment, "TERM": "xterm"},
        stdin=follower,
        stdout=subprocess.PIPE if pipe else follower,
        stderr=follower,
    )
    os.close(follower)
    os.write(leader, ahead.encode())
    shown, answered = b"", 0
    while True:
        try:
            shown += os.read(leader, 65536)
        except OSError:  # EIO: no process has the terminal open
            break
        if answers and len(shown) > answered and _QUESTION.search(shown):
            answered = len(shown)
            os.write(leader, answers.pop(0).encode())
    os.close(leader)
    piped = process.stdout.read().decode() if process.stdout else ""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r\n", "\n")
    return process.wait(timeout=60), plain, piped
