"""Where a host's changes to its image are stored: in memory, or in a folder that outlives the process.

The folder is the upper layer of an overlay: it is valid only over the image it was created over, and for one host at a
time. This module checks both.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rehearsal.hosts.devices import IDMAPPED
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.tools import BARE_ENVIRONMENT
from rehearsal.hosts.userns import UserNamespace

_RELEASE_TIMEOUT = 20.0
_POLL = 0.02
# What a host needs from the file system: id-mapped mounts, and that a folder of the image can be removed and created
# again, empty.
_TRIAL = """
trial=$1 tree=$2 namespace=$3 user=$4
shift 4
"$@" files /mnt "$tree" "$trial/over-tree" "$namespace" "$user"
"$@" files /mnt "$trial/lower" "$trial/over-lower" "$namespace" "$user"
setpriv --reuid "$user" --regid "$user" --clear-groups sh -euc '
    rm -r /mnt/root/folder
    mkdir /mnt/root/folder
    test ! -e /mnt/root/folder/file'
"""


class Disk:
    """The changes of one host, in memory without a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def folder(self) -> str:
        """The folder's path for `image/host.sh`, empty for none."""
        return str(self._folder or "")

    @property
    def used(self) -> bool:
        """Whether a host has booted on it before. `image/inside.sh` leaves the mark."""
        return self._folder is not None and (self._folder / "seeded").exists()

    @property
    def suite(self) -> str | None:
        """The suite that was booted on it before."""
        return self._record().get("suite") if self.used else None

    def take(self, suite: str, tree: Path) -> None:
        """Prepare it for a host over the image `tree`. Raises HostError when it was created over another image."""
        if self._folder is None:
            return
        image = _identity(tree)
        if not self.used:
            self._begin({"suite": suite, "image": image})
        elif (previous := self._record().get("image")) != image:
            raise HostError(
                "The host can't boot again on its files",
                why=f"they are changes to the image {previous}, and this machine now has {image}",
                remedy="Terminate the instance and launch another, or restore that image: the files stay until then.",
            )

    def file(self, name: str) -> Path | None:
        """A file beside the host's files that the host does not see."""
        return None if self._folder is None else self._folder / name

    @contextlib.contextmanager
    def held(self) -> Iterator[tuple[int, ...]]:
        """Descriptors for the host's processes to inherit: they lock the disk for as long as one process has them.

        Waits for a host that is ending with the process that owned it. Raises HostError.
        """
        if self._folder is None:
            yield ()
            return
        with (self._folder / "lock").open("w") as lock:
            _await_lock(lock.fileno())
            yield (lock.fileno(),)

    def _begin(self, record: dict[str, str]) -> None:
        """Remove what is left of a host that never came up."""
        assert self._folder is not None
        for name in ("upper", "work"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "image.json").write_text(json.dumps(record))

    def _record(self) -> dict[str, str]:
        assert self._folder is not None
        try:
            record: dict[str, str] = json.loads((self._folder / "image.json").read_text())
        except (OSError, ValueError):
            return {}
        return record


def check(folder: Path, tree: Path) -> None:
    """Raises HostError when the file system of `folder` cannot hold changes to the image `tree`."""
    with tempfile.TemporaryDirectory(prefix="trial-", dir=folder) as trial, contextlib.closing(UserNamespace()) as user:
        user.network.close()
        for name in ("lower/folder", "over-tree/upper", "over-tree/work", "over-lower/upper", "over-lower/work"):
            (Path(trial) / name).mkdir(parents=True)
        (Path(trial) / "lower/folder/file").touch()
        done = subprocess.run(
            [
                *("unshare", "--mount", "--propagation", "private", "sh", "-euc", _TRIAL, "sh"),
                *(trial, str(tree), str(user.descriptor), str(user.first_id), *IDMAPPED),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=BARE_ENVIRONMENT,
            pass_fds=(user.descriptor,),
            check=False,
        )
    if done.returncode != 0:
        raise HostError(
            f"The files of hosts can't be kept in {folder}",
            why="its file system can't be the upper layer of a host's overlay: "
            + (done.stderr.strip() or "removed files reappear"),
            remedy="Choose a folder on ext4, XFS or Btrfs; not on NFS, FAT or another overlay, as in a container.",
        )


def _await_lock(descriptor: int) -> None:
    deadline = time.monotonic() + _RELEASE_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise HostError(
                    "The host can't boot on its files",
                    why=f"an earlier host still used them after {_RELEASE_TIMEOUT:.0f} s",
                    remedy="Stop the rehearsal of that host, then start this one again.",
                ) from error
        time.sleep(_POLL)


@functools.cache
def _identity(tree: Path) -> str:
    """The image's recipe and packages: the same recipe gives newer packages on another day."""
    listing = next((file for name in ("var/lib/dpkg/status", "etc/os-release") if (file := tree / name).exists()), None)
    packages = hashlib.sha256(listing.read_bytes() if listing else b"").hexdigest()[:12]
    return f"{tree.parent.name or os.uname().nodename} ({packages})"
