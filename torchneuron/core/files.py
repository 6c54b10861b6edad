"""Atomic writes, and messages for files that cannot be read or written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torchneuron.core.errors import InputError, TorchNeuronError

_PROBE_BYTES = 64 * 1024


def write_atomically(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write `text` to `path` atomically: after a crash the file holds the old text or the new one.

    `mode` defaults to the permissions of the replaced file, 0644 for a new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode is None:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def using(
    path: Path, *, consequence: str = "Nothing was changed.", kind: type[TorchNeuronError] = InputError
) -> Iterator[None]:
    """Turn an OSError in the block, which reads or writes `path`, into an error of `kind`."""
    try:
        yield
    except OSError as error:
        raise kind(
            f"Cannot use {path}: {_reason(error)}. {consequence}",
            do="Free disk space, or make it writable. stateDir and outputDir in the settings set other folders.",
        ) from error


def check_writable(path: Path, *, consequence: str = "Nothing was changed.") -> None:
    """Raise InputError unless a file of 64 KiB can be written beside `path`."""
    with using(path, consequence=consequence):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())


def unusable(error: OSError) -> TorchNeuronError:
    """The error for an OSError that no caller handled."""
    where = error.filename or "A file, or standard output,"
    return TorchNeuronError(
        f"{where} cannot be used: {_reason(error)}.",
        do="Free disk space, or make it writable, then run the same command again.",
    )


def _reason(error: OSError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        path = Path(error.filename)
        wrong = next((folder for folder in (path, *path.parents) if folder.is_file()), path)
        return f"{wrong} is a file, not a folder"
    return error.strerror or str(error)
