"""Files that are there whole or not at all, wherever their writer is killed, and folders for one user alone."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def write_whole(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Put a file in place by a rename. `mode` as of open(2). One writer at a time.

    What a killed writer, or another user, has left under the temporary name is not written to. Raises OSError.
    """
    unfinished = path.with_name(f".{path.name}")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    unfinished.replace(path)


def make_private(folder: Path) -> None:
    """Make a folder that only this user can look into; one that is there is made so.

    PermissionError for another user's, and for one that others could have written to. Raises OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise PermissionError(errno.EPERM, "other users can write to it")
    folder.chmod(0o700)
