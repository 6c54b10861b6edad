"""What every host that is an `Container` with a network of its own does alike, whatever runs in it."""

from __future__ import annotations

import posixpath
import shlex
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from rehearsal.hosts import seed
from rehearsal.hosts.agent_process import run_script
from rehearsal.hosts.aws_sites import SiteAnswer, SiteRequest, Sites
from rehearsal.hosts.container import Container
from rehearsal.hosts.devices import Devices
from rehearsal.hosts.disk import Disk
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.forward import Forward
from rehearsal.hosts.host import Script, ScriptResult
from rehearsal.hosts.netns import NetworkNamespace
from rehearsal.hosts.userns import UserNamespace
from rehearsal.hosts.volumes import Slots, Volume

_REBOOT_TIMEOUT = 90.0
_FORWARD_ADDRESS = "127.0.0.1"


class ContainerHost(ABC):
    """A `Host` (see there). Subclasses say what it takes to start one."""

    def __init__(self, name: str, *, region: str, folder: Path | None) -> None:
        self._name = name
        self._region = region
        self._lock = threading.Lock()
        self._undo: list[Callable[[], None]] = []
        self._container: Container | None = None
        self._network: NetworkNamespace | None = None
        self._slots = Slots()
        self._disk = Disk(folder)
        self._aws: Sites = _nobody
        self.destroyed = False

    @property
    def name(self) -> str:
        return self._name

    @abstractmethod
    def _require(self) -> None:
        """HostError where this machine can't have such a host."""

    @abstractmethod
    def _start(self, owner: UserNamespace, devices: Devices) -> None:
        """Start and wait until it is up. Sets `_container`, and puts what ends it on `_undo`, before it can fail."""

    def connect(self, sites: Sites) -> None:
        self._aws = sites

    def boot(self) -> None:
        with self._lock:
            if self._container is not None:
                return
            self._require()
            try:
                owner = UserNamespace()
                self._network = owner.network
                self._undo += [owner.close, owner.network.close]
                devices = self._slots.devices = Devices(owner)
                self._undo.append(devices.close)
                self._start(owner, devices)
            except BaseException:
                self._clean_up()
                raise

    def reboot(self) -> None:
        """End all that runs, keep the files, the volumes and the forwards; back once the host is up. HostError."""
        self._running().reboot(_REBOOT_TIMEOUT)

    def run(self, script: Script) -> ScriptResult:
        return run_script(self._running(), script)

    def write_file(self, path: str, text: str, mode: int = 0o600) -> None:
        folder = shlex.quote(posixpath.dirname(path))
        # Written beside and renamed, so that a reader in the host never sees half of it.
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
            self._undo.append(forward.close)
            return forward.port

    def attach_volume(self, volume: Volume) -> None:
        with self._lock:
            self._slots.add(volume)
            if self._container is None:
                return
            try:
                self._tell_of_volume("plug", volume, self._slots.plug(volume))
            except BaseException:
                self._slots.remove(volume)
                raise

    def detach_volume(self, volume: Volume) -> bool:
        with self._lock:
            if self._slots.in_use(volume):
                return False
            if self._container is not None:
                self._tell_of_volume("unplug", volume)
            self._slots.remove(volume)
            return True

    def destroy(self) -> None:
        self.destroyed = True
        with self._lock:
            self._clean_up()

    def _begin_with(self, container: Container) -> None:
        """What boots, or is about to."""
        # Undone after the host has stopped: its mounts keep a device busy.
        self._undo.append(self._slots.remove_all)
        self._undo.append(container.stop)
        self._container = container

    def _tell_of_volume(self, verb: str, volume: Volume, record: str = "") -> None:
        command = f"sh {seed.VOLUMES_SCRIPT} {verb} {volume.serial}"
        self._running().execute(command, record, purpose=f"{verb} {volume.volume_id}")

    def _clean_up(self) -> None:
        """Undo what was set up, last first. What fails to be undone is tried again by the next call."""
        while self._undo:
            self._undo[-1]()
            self._undo.pop()
        self._container = self._network = None

    def _running(self) -> Container:
        container = self._container
        if container is None:
            raise _not_booted(self._name)
        return container


def _nobody(request: SiteRequest) -> SiteAnswer:
    return SiteAnswer(404)


def _not_booted(name: str) -> HostError:
    return HostError(f"Host {name} can't be used", why="it is not running", remedy="Boot it first.")
