"""Where a host's changes to its image are: in memory, or in a folder in which they outlive the process and a `kill -9`.

A folder is the upper side of an overlay, so it is of use only over the very image it was made over, and to one host
at a time. Both are seen to here.
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
# What a host asks of the file system below it: that its files can be shown as another user's, and that a folder of the
# image can be removed and made again, empty.
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
    """The place for one host's changes. With no folder they are in memory, and there is nothing to see to."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def folder(self) -> str:
        """The folder as the scripts that boot hosts are told of it: empty for none."""
        return str(self._folder or "")

    @property
    def used(self) -> bool:
        """Whether a host was booted on it before. `image/inside.sh` leaves the mark."""
        return self._folder is not None and (self._folder / "seeded").exists()

    @property
    def suite(self) -> str | None:
        """What was booted on it before."""
        return self._record().get("suite") if self.used else None

    def take(self, suite: str, tree: Path) -> None:
        """Make it ready for a host of that suite over the image `tree`. HostError when it was made over another."""
        if self._folder is None:
            return
        image = _identity(tree)
        if not self.used:
            self._begin({"suite": suite, "image": image})
        elif (made_over := self._record().get("image")) != image:
            raise HostError(
                "The host can't be booted again on its files",
                why=f"they are changes to the image {made_over}, and this machine has {image} by now",
                remedy="Terminate the instance and launch another, or put that image back: the files stay until then.",
            )

    def file(self, name: str) -> Path | None:
        """A file beside the host's own, which no host sees."""
        return None if self._folder is None else self._folder / name

    @contextlib.contextmanager
    def held(self) -> Iterator[tuple[int, ...]]:
        """Descriptors for the processes of a host to inherit: as long as one has them, no other host gets the disk.

        Waits for a host that is dying with the process that owned it. Raises HostError.
        """
        if self._folder is None:
            yield ()
            return
        with (self._folder / "lock").open("w") as lock:
            _await_lock(lock.fileno())
            yield (lock.fileno(),)

    def _begin(self, record: dict[str, str]) -> None:
        """Anything there is of a host that never was up."""
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
    """HostError when the file system that `folder` is on can't hold changes to the image `tree`."""
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
            why="its file system can't be the upper side of a host's overlay: "
            + (done.stderr.strip() or "what is removed comes back"),
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
                    "The host can't be booted on its files",
                    why=f"an earlier host still had them after {_RELEASE_TIMEOUT:.0f} s",
                    remedy="End the rehearsal that it belongs to, then start this one again.",
                ) from error
        time.sleep(_POLL)


@functools.cache
def _identity(tree: Path) -> str:
    """Which image it is: of which recipe, and with which packages, as the same recipe gives others another day."""
    known = next((file for name in ("var/lib/dpkg/status", "etc/os-release") if (file := tree / name).exists()), None)
    packages = hashlib.sha256(known.read_bytes() if known else b"").hexdigest()[:12]
    return f"{tree.parent.name or os.uname().nodename} ({packages})"
