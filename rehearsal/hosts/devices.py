"""The disks of a host: their device nodes, and a service that mounts them.

A host's root can neither create a device node nor mount a disk (see `userns`). This process does both for it, for its
own volumes only.
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
"""The socket in the host's network where `image/mount-volume.py` requests mounts."""
IDMAPPED = (sys.executable, "-I", "-S", str(Path(idmapped.__file__).resolve()))
"""The command that runs `idmapped`."""

_TIMEOUT = 60.0
_MAX_REQUEST = 16 * 1024


class Devices:
    """A file system with the nodes of one host's disks, until `close`. `descriptor` is its root."""

    def __init__(self, user_namespace: UserNamespace) -> None:
        """Raises HostError."""
        self._user_namespace = user_namespace
        self._numbers: dict[str, str] = {}
        self._server: _Server | None = None
        try:
            self.descriptor = idmapped.in_memory()
            os.chmod(".", 0o755, dir_fd=self.descriptor)
            # Before anything runs in the host, so that nothing in it can bind the address first.
            self._listener = user_namespace.network.listen_local(ADDRESS)
        except OSError as error:
            raise HostError(
                "A file system for the host's devices could not be created",
                why=str(error),
                remedy="Run this as root on a Linux 5.19 or newer.",
            ) from error

    def add(self, name: str, device: LoopDevice) -> None:
        """Let the host open and mount the device, as `name`."""
        os.mknod(name, stat.S_IFBLK, os.makedev(device.major, device.minor), dir_fd=self.descriptor)
        os.chown(name, self._user_namespace.first_id, self._user_namespace.first_id, dir_fd=self.descriptor)
        os.chmod(name, 0o660, dir_fd=self.descriptor)
        self._numbers[name] = f"{device.major}:{device.minor}"
        if self._server is None:
            self._server = _Server(self, self._listener)

    def remove(self, name: str) -> None:
        """Take the device away. The host may have bind-mounted the node, so the node itself becomes inaccessible."""
        if self._numbers.pop(name, None):
            os.chown(name, 0, 0, dir_fd=self.descriptor)
            os.chmod(name, 0, dir_fd=self.descriptor)
            os.unlink(name, dir_fd=self.descriptor)

    def close(self) -> None:
        """Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._listener.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def mount(self, peer: socket.socket, request: dict[str, str]) -> str:
        """Mount a volume in the mount namespace of the process that requests it. Returns an error, else nothing."""
        pid, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        device = self._numbers.get(request["name"])
        if uid != self._user_namespace.first_id:
            return "only root can mount a volume"
        if device is None:
            return f"{request['name']} is no volume of this host"
        # If the pid has been reused meanwhile: the program cannot enter what the namespace's root may not enter.
        space = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            done = subprocess.run(
                [
                    *(*IDMAPPED, "volume", str(self._user_namespace.descriptor), str(space), device),
                    *(f"/dev/{request['name']}", request["kind"], request["options"], request["target"]),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=BARE_ENVIRONMENT,
                pass_fds=(self._user_namespace.descriptor, space),
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
            request = {str(key): str(value) for key, value in json.loads(self.rfile.readline(_MAX_REQUEST)).items()}
            answer = self.server.devices.mount(self.connection, request)
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
