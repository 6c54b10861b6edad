"""The commands as a user runs them, in this process: `invoke` with its arguments, status, and what it prints."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from invoke.program import Program

import tasks


@dataclass(frozen=True)
class Done:
    """How a command ended. `status` is the exit status."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Invoke:
    """Runs `invoke` with arguments. Called with `status`, it has to end with that."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, status: int = 0) -> Done:
        self.capsys.readouterr()
        ended = 0
        try:
            Program(namespace=tasks.namespace).run(["invoke", *arguments])
        except SystemExit as end:
            ended = end.code if isinstance(end.code, int) else 1
        seen = self.capsys.readouterr()
        done = Done(ended, seen.out, seen.err)
        assert done.status == status, done
        return done
