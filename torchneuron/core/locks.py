"""A lock on a local folder: one command at a time works in it.

The lock is the kernel's (flock), so it is released when the process that holds it ends, for whatever reason.
"""

from __future__ import annotations

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
    """Hold the lock file `path` during the block, waiting at most `seconds` for another holder.

    `what` names in messages what the lock protects. Raises BusyError when another command holds the lock longer than
    that, and InputError when the file cannot be used.
    """
    from filelock import FileLock, Timeout  # it imports asyncio: 0.15 s that most commands need not spend

    files.check_writable(path)
    lock = FileLock(path, timeout=seconds, poll_interval=_POLL_SECONDS, fallback_to_soft=False)
    with files.using(path), display.waiting(f"Waiting for another command on {what}"):
        try:
            lock.acquire()
        except Timeout as error:
            raise BusyError(
                f"Another command is at work on {what}. Nothing was changed by this one.",
                why=f"It holds {path}.",
                do="Let it end (it may be waiting for an answer), then run this again.",
            ) from error
    try:
        yield
    finally:
        lock.release()
