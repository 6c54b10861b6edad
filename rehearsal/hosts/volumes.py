"""EBS volumes as hosts see them: disks whose data outlives the host they are attached to.

A volume's data is a sparse, unnamed file, which the kernel frees when this process closes it or is killed. The data
lasts as long as its volume, and SIGKILL leaves neither file nor device. Only an AWS that outlives its process has named
files.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO

from rehearsal.hosts.devices import Devices
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.loop import LoopDevice

RECORDS = "/var/lib/rehearsal/volumes"
"""The folder in a host with a file per volume, from which `image/volumes.sh` creates the devices."""

_GIGABYTE = 1024**3
_RELEASE_TIMEOUT = 60.0


class Volume:
    """A volume, attached to at most one host at a time."""

    def __init__(self, volume_id: str, gigabytes: int, *, folder: Path | None = None) -> None:
        """`folder`: where its data outlives this process."""
        self.volume_id = volume_id
        self._gigabytes = gigabytes
        self._file = None if folder is None else folder / volume_id
        self._free = threading.Lock()
        self._data: IO[bytes] | None = None
        self._device: LoopDevice | None = None

    @property
    def serial(self) -> str:
        """The serial number of the disk."""
        return self.volume_id.replace("-", "")

    def plug(self) -> LoopDevice:
        """The device, the caller's until `unplug`. Waits for a host that is being destroyed. Raises HostError."""
        if not self._free.acquire(timeout=_RELEASE_TIMEOUT):
            raise HostError(
                f"Volume {self.volume_id} can't be attached",
                why=f"the previous host did not release it within {_RELEASE_TIMEOUT:.0f} s",
                remedy="See the rehearsal's log for the error when that host was destroyed.",
            )
        try:
            if self._data is None:
                self._data = self._open()
            self._device = LoopDevice(self._data.fileno())
        except BaseException:
            self._free.release()
            raise
        return self._device

    def unplug(self) -> None:
        """Release the device. Raises HostError while it is in use."""
        if self._device is not None:
            self._device.close()
            self._device = None
            self._free.release()

    def grow(self, gigabytes: int) -> None:
        """Change the size, also on the host that has it."""
        self._gigabytes = gigabytes
        if self._data is not None:
            self._data.truncate(gigabytes * _GIGABYTE)
        if self._device is not None:
            self._device.adopt_size()

    def in_use(self) -> bool:
        """Whether its host has mounted it."""
        return self._device is not None and self._device.in_use()

    def delete(self) -> None:
        """Delete the data. A device that is still plugged in keeps it until `unplug`."""
        self.close()
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file. This deletes data without a name."""
        if self._data is not None:
            self._data.close()

    def _open(self) -> IO[bytes]:
        if self._file is None:
            return _blank(self.volume_id, self._gigabytes)
        self._file.touch(mode=0o600)
        data = self._file.open("r+b")
        data.truncate(max(self._gigabytes * _GIGABYTE, self._file.stat().st_size))
        return data


def _blank(name: str, gigabytes: int) -> IO[bytes]:
    """A sparse, deleted file. `losetup --list` still shows the name it had."""
    descriptor, path = tempfile.mkstemp(prefix=f"rehearsal-{name}-")
    Path(path).unlink()
    os.truncate(descriptor, gigabytes * _GIGABYTE)
    return os.fdopen(descriptor, "r+b")


class Volumes:
    """The volumes of one AWS, by id. Thread-safe."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: where the data outlives this process."""
        self._folder = folder
        self._lock = threading.Lock()
        self._volumes: dict[str, Volume] = {}

    def get(self, volume_id: str, gigabytes: int) -> Volume:
        """The volume. It is created, blank, at the first call."""
        with self._lock:
            return self._volumes.setdefault(volume_id, Volume(volume_id, gigabytes, folder=self._folder))

    def keep(self, volume_ids: Collection[str]) -> None:
        """Delete the data of all other volumes."""
        with self._lock:
            for volume_id in self._volumes.keys() - set(volume_ids):
                self._volumes.pop(volume_id).delete()
            for file in self._folder.iterdir() if self._folder is not None else ():
                if file.name not in volume_ids:
                    file.unlink()

    def close(self) -> None:
        """Close all volumes. Only data in a folder remains."""
        with self._lock:
            for volume in self._volumes.values():
                volume.close()
            self._volumes.clear()


class Slots:
    """The volumes of one host and their device names; `nvme0n1` is the root volume's. Not thread-safe."""

    def __init__(self) -> None:
        self.devices: Devices | None = None
        """The host's device nodes, while it runs."""
        self._added: dict[str, Volume] = {}
        self._names: dict[str, str] = {}
        self._plugged: set[str] = set()

    def add(self, volume: Volume) -> None:
        """Give the volume a name. It is not plugged in yet, as another host may still have it."""
        taken = set(self._names.values())
        name = next(name for number in range(1, len(taken) + 2) if (name := f"nvme{number}n1") not in taken)
        self._names[volume.volume_id] = name
        self._added[volume.volume_id] = volume

    def plug(self, volume: Volume) -> str:
        """Plug an added volume in, and return the text of its record in the host. Raises HostError."""
        assert self.devices is not None
        name, device = self._names[volume.volume_id], volume.plug()
        self._plugged.add(volume.volume_id)
        self.devices.add(name, device)
        return f"{name}\n"

    def plug_all(self) -> Mapping[str, str]:
        """Plug all added volumes in, and return the texts of their records by path. Raises HostError."""
        return {f"{RECORDS}/{volume.serial}": self.plug(volume) for volume in self._added.values()}

    def in_use(self, volume: Volume) -> bool:
        """Whether the host has mounted it."""
        return volume.volume_id in self._plugged and volume.in_use()

    def remove(self, volume: Volume) -> None:
        """Unplug the volume and forget it, if it is here. Raises HostError while it is in use."""
        if volume.volume_id in self._plugged:
            if self.devices is not None:
                self.devices.remove(self._names[volume.volume_id])
            volume.unplug()
            self._plugged.remove(volume.volume_id)
        self._added.pop(volume.volume_id, None)
        self._names.pop(volume.volume_id, None)

    def remove_all(self) -> None:
        """Unplug and forget all volumes. Raises HostError while one is in use."""
        for volume in list(self._added.values()):
            self.remove(volume)
