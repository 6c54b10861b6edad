"""A command as a user types it, in a process of its own that can be killed at any moment."""

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
    """A folder with the sandbox's settings and a state of its own: a laptop that nobody has worked on yet."""
    with tempfile.TemporaryDirectory(prefix="torchneuron-faults-") as name:
        settings = {**sandbox.settings(), "stateDir": str(Path(name) / "state")}
        (Path(name) / "config.json").write_text(json.dumps(settings))
        yield Path(name)


class Command:
    """`invoke …`, started.

    As a rule it is a fork of this process, which has imported everything already; `fresh`, it is a new Python. In a
    fork the pauses between attempts take `pace` of their time.
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
        self._told = folder / "told.txt"
        self._status: int | None = None
        self.killed = False
        self.pid = os.fork()
        if self.pid == 0:
            _become(arguments, environment, self._told, fresh=fresh, pace=pace)

    @property
    def has_ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def wait(self, seconds: float) -> bool:
        """Whether it ended within the time."""
        end = time.monotonic() + seconds
        while not self.has_ended and time.monotonic() < end:
            _real_sleep(_POLL_SECONDS)
        return self.has_ended

    def kill(self, number: int = signal.SIGKILL, *, alone: bool = False) -> None:
        """Send a signal to it and what it has started, or to it alone; unless it has ended."""
        if not self.has_ended:
            self.killed = True
            (os.kill if alone else os.killpg)(self.pid, number)

    def kill_all(self) -> None:
        """SIGKILL to it and to all it has started, also what is in a group of its own."""
        self.killed = self.killed or not self.has_ended
        for pid in self.at_work():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def at_work(self) -> list[int]:
        """The processes of its session: it and what it has started, as long as they run."""
        return running_in_session(self.pid)

    @property
    def status(self) -> int:
        """Its exit status once it has ended, negative for the signal that ended it."""
        assert self._status is not None
        return os.waitstatus_to_exitcode(self._status)

    @property
    def told(self) -> str:
        """All it printed, to standard output and error."""
        return self._told.read_text(errors="replace")


def _become(arguments: Sequence[str], environment: Mapping[str, str], told: Path, *, fresh: bool, pace: float) -> None:
    """Never returns: what this process is a copy of must not go on in it."""
    status = 70
    try:
        os.setsid()
        # Whoever plays this may be stopped; nobody would look after it then.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        output = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for here, there in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(here, there)
        os.chdir(ROOT)
        if fresh:
            os.execve(sys.executable, [sys.executable, "-m", "invoke", *arguments], dict(environment))
        os.environ.clear()
        os.environ.update(environment)
        # Copies of this process's: pytest's own are not what a terminal is.
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
    """Import what commands import, once for all forks."""
    from torchneuron.capacity_blocks import workflows
    from torchneuron.deploy import lifecycle, machine_setup

    assert lifecycle, (machine_setup, workflows)


def meanwhile(command: Command, events: Sequence[tuple[float, Callable[[], None]]], *, most_seconds: float) -> None:
    """Let it run to its end, with what happens after so many seconds, if it gets that far. It has to end in time."""
    begun = time.monotonic()
    for after, happens in sorted(events, key=lambda event: event[0]):
        if command.wait(begun + after - time.monotonic()):
            return
        happens()
    if not command.wait(begun + most_seconds - time.monotonic()):
        command.kill()
        command.wait(10)
        raise AssertionError(f"it did not end within {most_seconds} s:\n{command.told[-3000:]}")
