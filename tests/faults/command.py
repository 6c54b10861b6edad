"""A user command in its own process, which can be killed at any moment."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rehearsal.scenarios.sandbox import Sandbox
from tests.functional.invoking import ROOT
from tests.sessions import running_in_session

_POLL_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1  # prctl(2)
_real_sleep = time.sleep


@contextlib.contextmanager
def laptop(sandbox: Sandbox) -> Iterator[Path]:
    """A new folder with the sandbox's settings and an empty state, like a laptop that was never used."""
    with tempfile.TemporaryDirectory(prefix="torchneuron-faults-") as name:
        settings = {**sandbox.settings(), "stateDir": str(Path(name) / "state")}
        (Path(name) / "config.json").write_text(json.dumps(settings))
        yield Path(name)


class Command:
    """A running `invoke …` command.

    It is a fork of this process, which saves the imports; with `fresh`, a new Python process. A fork multiplies its
    sleeps by `pace`.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        fresh: bool = False,
        pace: float = 1.0,
    ) -> None:
        self._output = folder / "output.txt"
        self._status: int | None = None
        self.killed = False
        self.pid = os.fork()
        if self.pid == 0:
            _become(arguments, environment, self._output, fresh=fresh, pace=pace)

    @property
    def has_ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the command; returns whether it ended in time."""
        end = time.monotonic() + seconds
        while not self.has_ended and time.monotonic() < end:
            _real_sleep(_POLL_SECONDS)
        return self.has_ended

    def kill(self, number: int = signal.SIGKILL, *, alone: bool = False) -> None:
        """Send a signal to the command's process group, or to the command `alone`, unless it has ended."""
        if not self.has_ended:
            self.killed = True
            (os.kill if alone else os.killpg)(self.pid, number)

    def kill_all(self) -> None:
        """Send SIGKILL to all processes of the command's session, in any process group."""
        self.killed = self.killed or not self.has_ended
        for pid in self.running_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def running_processes(self) -> list[int]:
        """The running processes of the command's session."""
        return running_in_session(self.pid)

    @property
    def status(self) -> int:
        """The exit status of the ended command, or the negative number of the signal that ended it."""
        assert self._status is not None
        return os.waitstatus_to_exitcode(self._status)

    @property
    def output(self) -> str:
        """Standard output and standard error."""
        return self._output.read_text(errors="replace")


def _become(
    arguments: Sequence[str], environment: Mapping[str, str], output: Path, *, fresh: bool, pace: float
) -> None:
    """Run the command in the forked process. Never returns, so that the parent's code does not continue here."""
    status = 70
    try:
        os.setsid()
        # End with the test process: nothing else would stop this command.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (file, 1), (file, 2)):
            os.dup2(source, target)
        os.chdir(ROOT)
        if fresh:
            os.execve(sys.executable, [sys.executable, "-m", "invoke", *arguments], dict(environment))
        os.environ.clear()
        os.environ.update(environment)
        # Replace pytest's captured streams.
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        time.sleep = lambda seconds: _real_sleep(float(seconds) * pace)
        status = _invoke(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _invoke(arguments: Sequence[str]) -> int:
    from invoke.program import Program

    import tasks

    try:
        Program(namespace=tasks.namespace).run(["invoke", *arguments])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def warm_up() -> None:
    """Import the commands' modules once for all forks."""
    from torchneuron.capacity_blocks import workflows
    from torchneuron.deploy import lifecycle, machine_setup

    assert lifecycle, (machine_setup, workflows)


def run_with_events(command: Command, events: Sequence[tuple[float, Callable[[], None]]], *, timeout: float) -> None:
    """Wait for the end of the command, calling each event after its seconds. Fails when the command does not end."""
    started = time.monotonic()
    for after, event in sorted(events, key=lambda pair: pair[0]):
        if command.wait(started + after - time.monotonic()):
            return
        event()
    if not command.wait(started + timeout - time.monotonic()):
        command.kill()
        command.wait(10)
        raise AssertionError(f"the command did not end within {timeout} s:\n{command.output[-3000:]}")
