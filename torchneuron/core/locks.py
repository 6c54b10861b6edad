"""A folder that one command at a time works in, on this machine.

The lock is the kernel's (flock): it goes with the process that holds it, however that ends.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torchneuron.core import display, files
from torchneuron.core.errors import TorchNeuronError

_POLL_SECONDS = 0.2


class BusyError(TorchNeuronError):
    """Another command holds the lock. Nothing was changed."""


@contextmanager
def held(path: Path, what: str, *, seconds: float) -> Iterator[None]:
    """Hold the lock file `path` during the block, waiting at most `seconds` for whoever has it.

    Raises BusyError, naming `what` is worked on, when another command has it longer, and InputError where no lock can
    be had.
    """
    files.check_writable(path)
    with files.using(path):
        handle = path.open("a")
    with handle:
        with display.waiting(f"Waiting for another command on {what}"):
            _take(handle.fileno(), path, what, end=time.monotonic() + seconds)
        yield


def _take(handle: int, path: Path, what: str, *, end: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise BusyError(
                    f"Another command is at work on {what}. Nothing was changed by this one.",
                    why=f"It holds {path}.",
                    do="Let it end (it may be waiting for an answer), then run this again.",
                ) from error
        time.sleep(_POLL_SECONDS)
