"""The disks a host may open, and the mounts it is given of them.

A host's root can neither make a device node nor mount a disk: see `userns`. So both is done for it here, outside, and
for its own volumes only.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from threading import Thread

from rehearsal.hosts import idmapped
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.loop import LoopDevice
from rehearsal.hosts.tools import BARE_ENVIRONMENT
from rehearsal.hosts.userns import UserNamespace

ADDRESS = "\0rehearsal-volumes"
"""The socket in the host's network that mounts are asked for at, by `image/mount-volume.py`."""
IDMAPPED = (sys.executable, "-I", "-S", str(Path(idmapped.__file__).resolve()))
"""The command of `idmapped`."""

_TIMEOUT = 60.0
_LONGEST = 16 * 1024


class Devices:
    """A file system with the nodes of one host's disks, from construction to `close`. `descriptor` is its root."""

    def __init__(self, owner: UserNamespace) -> None:
        """Raises HostError."""
        self._owner = owner
        self._numbers: dict[str, str] = {}
        self._server: _Server | None = None
        try:
            self.descriptor = idmapped.in_memory()
            os.chmod(".", 0o755, dir_fd=self.descriptor)
            # Before anything runs in the host: nothing there can take the address.
            self._listener = owner.network.listen_local(ADDRESS)
        except OSError as error:
            raise HostError(
                "A file system for the host's devices could not be made",
                why=str(error),
                remedy="Run this as root on a Linux 5.19 or newer.",
            ) from error

    def add(self, name: str, device: LoopDevice) -> None:
        """Let the host open and mount the device, as `name`."""
        os.mknod(name, stat.S_IFBLK, os.makedev(device.major, device.minor), dir_fd=self.descriptor)
        os.chown(name, self._owner.first_id, self._owner.first_id, dir_fd=self.descriptor)
        os.chmod(name, 0o660, dir_fd=self.descriptor)
        self._numbers[name] = f"{device.major}:{device.minor}"
        if self._server is None:
            self._server = _Server(self, self._listener)

    def remove(self, name: str) -> None:
        """Take the device away. The host may have the node mounted elsewhere, so it can't be opened there either."""
        if self._numbers.pop(name, None):
            os.chown(name, 0, 0, dir_fd=self.descriptor)
            os.chmod(name, 0, dir_fd=self.descriptor)
            os.unlink(name, dir_fd=self.descriptor)

    def close(self) -> None:
        """May be called again."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._listener.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def mount(self, peer: socket.socket, asked: dict[str, str]) -> str:
        """Mount what a process in the host asks for, in its own mount namespace; what is wrong, else nothing."""
        pid, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        device = self._numbers.get(asked["name"])
        if uid != self._owner.first_id:
            return "only root can mount a volume"
        if device is None:
            return f"{asked['name']} is no volume of this host"
        # Should the process be another one by now: what the namespace's root may not enter, the program can't either.
        space = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            done = subprocess.run(
                [
                    *(*IDMAPPED, "volume", str(self._owner.descriptor), str(space), device),
                    *(f"/dev/{asked['name']}", asked["kind"], asked["options"], asked["target"]),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=BARE_ENVIRONMENT,
                pass_fds=(self._owner.descriptor, space),
                timeout=_TIMEOUT,
                check=False,
            )
        finally:
            os.close(space)
        return "" if done.returncode == 0 else done.stderr.strip() or f"exit status {done.returncode}"


class _Handler(StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        try:
            asked = {str(key): str(value) for key, value in json.loads(self.rfile.readline(_LONGEST)).items()}
            answer = self.server.devices.mount(self.connection, asked)
        except (ValueError, AttributeError, KeyError, OSError, subprocess.SubprocessError) as error:
            answer = f"{type(error).__name__}: {error}"
        self.wfile.write(answer.encode())


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, devices: Devices, listener: socket.socket) -> None:
        super().__init__("", _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.devices = devices
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="volumes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
