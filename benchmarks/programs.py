"""Programs as work to be timed: from their start to their end, as a person waits for them."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.pairs import BenchmarkError, Work
from torchneuron.core.config import PROJECT_ROOT

# What a program needs of the shell that the benchmarks were started from. The rest could decide a comparison:
# NODE_OPTIONS, PYTHONDONTWRITEBYTECODE, Invoke's own variables.
_KEPT = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR")
_LINES_OF_A_FAILURE = 30


def environment(bytecode: Path | None = None) -> dict[str, str]:
    """What programs are started with.

    Python keeps what it compiles in `bytecode`: then every way has all of it after its first run, however the packages
    were installed, and the installation stays as it is. None leaves it where Python keeps it usually.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPYCACHEPREFIX": str(bytecode)} if bytecode else kept


def program(arguments: Sequence[str], variables: Mapping[str, str]) -> Work:
    """Work that runs a program in the project's folder. One that fails is told with what it said."""

    def run() -> None:
        try:
            done = subprocess.run(
                arguments,
                cwd=PROJECT_ROOT,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
            )
        except OSError as error:
            raise BenchmarkError(f"Cannot start {shlex.join(arguments)}.", why=str(error)) from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").rstrip().splitlines()
            raise BenchmarkError(
                f"{shlex.join(arguments)} ended with status {done.returncode}.",
                why="\n".join(said[-_LINES_OF_A_FAILURE:]) or "It said nothing on standard error.",
            )

    return run


def cpu_seconds(work: Work) -> Work:
    """Work whose seconds are the CPU time of the programs that it runs, and of all that they start."""

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        work()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)

    return run
