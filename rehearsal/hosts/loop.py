"""Loop devices: a file as a block device."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
from pathlib import Path

from rehearsal.hosts.errors import HostError

_CONTROL = Path("/dev/loop-control")
# linux/loop.h. LOOP_CONFIGURE takes a struct loop_config: file, block size, a struct loop_info64, reserve.
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_SET_CAPACITY = 0x4C07
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_AUTOCLEAR = 4
_CONFIGURATION = struct.Struct("=II 5Q 4I 64s 64s 32s 2Q 8Q")
_LAST_USE_TIMEOUT = 10.0
_POLL = 0.02


class LoopDevice:
    """The loop device of a file, until `close`.

    The kernel removes it with its last user, this object or a mount (autoclear): a killed process leaves none.
    """

    def __init__(self, file: int) -> None:
        """`file` is a descriptor, which the caller may close. Raises HostError."""
        if not _CONTROL.exists():
            raise _missing(f"there is no {_CONTROL}")
        try:
            self._descriptor, self.path = _configured(file)
        except OSError as error:
            raise _missing(str(error)) from error
        device = os.fstat(self._descriptor).st_rdev
        self.major, self.minor = os.major(device), os.minor(device)
        self._backing = self._backed_by()

    def in_use(self) -> bool:
        """Whether it is opened exclusively, as by a mount, in any namespace."""
        try:
            os.close(os.open(self.path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return True
        return False

    def adopt_size(self) -> None:
        """Adopt the file's size."""
        fcntl.ioctl(self._descriptor, _LOOP_SET_CAPACITY)

    def close(self) -> None:
        """Release it and wait for its last other user. Raises HostError. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        deadline = time.monotonic() + _LAST_USE_TIMEOUT
        # Another process may have the device by now, but with another file.
        while self._backed_by() == self._backing:
            if time.monotonic() > deadline:
                raise HostError(
                    f"{self.path} can't be released",
                    why="a process or a mount still uses it",
                    remedy=f"Find it: grep {self.major}:{self.minor} /proc/[0-9]*/mountinfo",
                )
            time.sleep(_POLL)

    def _backed_by(self) -> str:
        with contextlib.suppress(OSError):
            return Path(f"/sys/block/{Path(self.path).name}/loop/backing_file").read_text()
        return ""


def _configured(file: int) -> tuple[int, str]:
    """A descriptor and the path of a free loop device, set up. Raises OSError."""
    no_name, no_key, reserve = b"", b"", (0,) * 10
    configuration = _CONFIGURATION.pack(
        *(file, 0), *(0, 0, 0, 0, 0), *(0, 0, 0, _LO_FLAGS_AUTOCLEAR), *(no_name, no_key, no_key), *reserve
    )
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(descriptor, _LOOP_CONFIGURE, configuration)
            except OSError as error:
                os.close(descriptor)
                if error.errno != errno.EBUSY:  # EBUSY: another process was faster
                    raise
            else:
                return descriptor, path
    finally:
        os.close(control)


def _missing(why: str) -> HostError:
    return HostError(
        "A volume can't be attached",
        why=f"this machine has no loop device: {why}",
        remedy="Run this as root on Linux 5.8 or newer with the loop module (modprobe loop), outside of containers.",
    )
