"""What booted and light hosts have in common: a container with its own network, disks and files."""

from __future__ import annotations

import posixpath
import shlex
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from rehearsal.hosts import seed
from rehearsal.hosts.agent_process import run_script
from rehearsal.hosts.aws_sites import SiteAnswer, SiteRequest, Sites
from rehearsal.hosts.certificates import Authority
from rehearsal.hosts.container import Container
from rehearsal.hosts.devices import Devices
from rehearsal.hosts.disk import Disk
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.forward import Forward
from rehearsal.hosts.host import Script, ScriptResult
from rehearsal.hosts.netns import NetworkNamespace
from rehearsal.hosts.requirements import Missing
from rehearsal.hosts.service import Service
from rehearsal.hosts.userns import UserNamespace
from rehearsal.hosts.volumes import Slots, Volume

_REBOOT_TIMEOUT = 90.0
_FORWARD_ADDRESS = "127.0.0.1"


class ContainerHost(ABC):
    """A `Host` in a container, which subclasses start."""

    def __init__(self, name: str, *, region: str, folder: Path | None) -> None:
        self._name = name
        self._region = region
        self._lock = threading.Lock()
        self._cleanup: list[Callable[[], None]] = []
        self._container: Container | None = None
        self._network: NetworkNamespace | None = None
        self._slots = Slots()
        self._disk = Disk(folder)
        self._aws: Sites = _not_found
        self.destroyed = False

    @property
    def name(self) -> str:
        return self._name

    @abstractmethod
    def _missing(self) -> list[Missing]:
        """What this machine lacks to run such a host."""

    @abstractmethod
    def _start(self, user_namespace: UserNamespace, devices: Devices) -> None:
        """Start the container and wait until it is up. Calls `_begin_with` and fills `_cleanup` before it can fail."""

    def connect(self, sites: Sites) -> None:
        self._aws = sites

    def boot(self) -> None:
        with self._lock:
            if self._container is not None:
                return
            if gaps := self._missing():
                raise HostError(
                    f"Host {self._name} can't be started",
                    why="; ".join(f"{gap.what} is missing ({gap.why})" for gap in gaps),
                    remedy="\n".join(dict.fromkeys(gap.remedy for gap in gaps)),
                )
            try:
                user_namespace = UserNamespace()
                self._network = user_namespace.network
                self._cleanup += [user_namespace.close, user_namespace.network.close]
                devices = self._slots.devices = Devices(user_namespace)
                self._cleanup.append(devices.close)
                self._start(user_namespace, devices)
            except BaseException:
                self._clean_up()
                raise

    def reboot(self) -> None:
        """End all processes; files, volumes and forwards stay. Waits until the host is up. Raises HostError."""
        self._running().reboot(_REBOOT_TIMEOUT)

    def run(self, script: Script) -> ScriptResult:
        return run_script(self._running(), script)

    def write_file(self, path: str, text: str, mode: int = 0o600) -> None:
        folder = shlex.quote(posixpath.dirname(path))
        # Renamed when complete, so that a reader in the host never sees half of it.
        command = f'mkdir -p {folder} && new=$(mktemp {folder}/.new.XXXXXX) && cat >"$new"'
        command += f' && chmod {mode:o} "$new" && mv -T "$new" {shlex.quote(path)}'
        self._running().execute(command, text, purpose=f"write {path}")

    def read_file(self, path: str) -> str:
        return self._running().execute(f"cat -- {shlex.quote(path)}", "", purpose=f"read {path}")

    def forward(self, port: int) -> int:
        self._running()
        with self._lock:
            network = self._network
            if network is None:
                raise _not_booted(self._name)
            forward = Forward(lambda: network.connect(_FORWARD_ADDRESS, port))
            self._cleanup.append(forward.close)
            return forward.port

    def attach_volume(self, volume: Volume) -> None:
        with self._lock:
            self._slots.add(volume)
            if self._container is None:
                return
            try:
                self._update_volume("plug", volume, self._slots.plug(volume))
            except BaseException:
                self._slots.remove(volume)
                raise

    def detach_volume(self, volume: Volume) -> bool:
        with self._lock:
            if self._slots.in_use(volume):
                return False
            if self._container is not None:
                self._update_volume("unplug", volume)
            self._slots.remove(volume)
            return True

    def destroy(self) -> None:
        self.destroyed = True
        with self._lock:
            self._clean_up()

    def _begin_with(self, container: Container) -> None:
        """Set the container that is about to boot."""
        # Runs after the container has stopped: its mounts keep a device busy.
        self._cleanup.append(self._slots.remove_all)
        self._cleanup.append(container.stop)
        self._container = container

    def _seed(self, archive: Callable[..., bytes], tree: Path, authority: Authority) -> bytes:
        """Plug the volumes in, and return the tar archive to boot with."""
        volumes = self._slots.plug_all()
        if self._disk.used:
            return seed.archive_of_volumes(volumes)
        return archive(
            name=self._name, region=self._region, tree=tree, authority=authority.certificate, volumes=volumes
        )

    def _serve(
        self, listener: socket.socket, handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None
    ) -> None:
        """Serve on a socket in the host's network until the host is destroyed."""
        self._cleanup.append(Service(listener, handler, tls).close)

    def _update_volume(self, verb: str, volume: Volume, record: str = "") -> None:
        command = f"sh {seed.VOLUMES_SCRIPT} {verb} {volume.serial}"
        self._running().execute(command, record, purpose=f"{verb} {volume.volume_id}")

    def _clean_up(self) -> None:
        """Run the cleanup, last first. A step that fails is repeated by the next call."""
        while self._cleanup:
            self._cleanup[-1]()
            self._cleanup.pop()
        self._container = self._network = None

    def _running(self) -> Container:
        container = self._container
        if container is None:
            raise _not_booted(self._name)
        return container


def _not_found(request: SiteRequest) -> SiteAnswer:
    return SiteAnswer(404)


def _not_booted(name: str) -> HostError:
    return HostError(f"Host {name} can't be used", why="it is not running", remedy="Boot it first.")
