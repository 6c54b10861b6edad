"""Files that are written atomically, and folders that only their owner can read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def write_atomically(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a temporary file and rename it to `path`. `mode`: as of open(2). One writer at a time. Raises OSError.

    An existing temporary file, of a killed writer or another user, is removed and not written to.
    """
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)


def make_private_folder(folder: Path) -> None:
    """Create a folder with mode 0700, or give an existing one that mode.

    Raises PermissionError for a folder that belongs to another user or that other users can write to, else OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user")
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise PermissionError(errno.EPERM, "other users can write to it")
    folder.chmod(0o700)
