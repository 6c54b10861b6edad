"""The hosts of instances: booted in the background, found by instance id, destroyed with the instance."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rehearsal.hosts.aws_sites import SiteAnswer, SiteRequest
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.folders import HostFolders, HostRecord
from rehearsal.hosts.host import Connectable, Host, HostFactory, Labelled, Rebootable
from rehearsal.hosts.volumes import Volume

_BROKEN = "broken, as requested"

InstanceSites = Callable[[str, str, SiteRequest], SiteAnswer]
"""AWS as seen by an instance: instance id, region, request."""


@dataclass
class _Entry:
    host: Host | None
    state: str
    settled: threading.Event = field(default_factory=threading.Event)
    destroyed: bool = False
    up: bool = False
    has_been_up: bool = False
    rebooting: bool = False
    boots: int = 1
    system: tuple[str, str] = ("Linux", "")


class Fleet:
    """One host per instance. Thread-safe.

    Without a factory instances have no host: their state is `none`, no agent registers and nothing runs.
    """

    def __init__(
        self, factory: HostFactory | None, folder: Path | None = None, sites: InstanceSites | None = None
    ) -> None:
        """`folder`: where hosts outlive this process. `sites`: answers their requests to AWS."""
        self._factory = factory
        self._sites = sites
        self._folders = HostFolders(folder)
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def launch(self, instance_id: str, *, region: str, volumes: Sequence[Volume] = ()) -> None:
        """Start booting the instance's host, with these volumes besides its root volume, in the background.

        A host that another process had keeps its files, or stays broken.
        """
        if self._factory is None:
            with self._lock:
                self._entries[instance_id] = _Entry(None, "none")
            return
        record = self._folders.read(instance_id)
        host = self._factory(instance_id, region=region, folder=self._folders.make(instance_id))
        if self._sites is not None and isinstance(host, Connectable):
            host.connect(partial(self._sites, instance_id, region))
        for volume in volumes:
            host.attach_volume(volume)
        entry = _Entry(host, _BROKEN if record.broken else "booting")
        if record.system is not None:
            entry.has_been_up, entry.system = True, record.system
        with self._lock:
            self._entries[instance_id] = entry
        if record.broken:
            entry.settled.set()
            return
        threading.Thread(target=self._boot, args=(entry,), name=f"boot {instance_id}", daemon=True).start()

    def can_resume(self, instance_id: str) -> bool:
        """Whether the instance's host can be resumed from its folder, or there are no hosts at all."""
        return self._factory is None or self._folders.has(instance_id)

    def keep(self, instance_ids: Collection[str]) -> None:
        """Remove the files of all other hosts."""
        self._folders.keep(instance_ids)

    def running(self, instance_id: str) -> Host | None:
        """The instance's host, from its boot until it is destroyed."""
        entry = self._find(instance_id)
        return entry.host if entry is not None and entry.up else None

    def has_been_up(self, instance_id: str) -> bool:
        """Whether the instance's host has ever been up."""
        entry = self._find(instance_id)
        return entry is not None and entry.has_been_up

    def ready(self, instance_id: str) -> Host | None:
        """As `running`, but None while the host reboots."""
        entry = self._find(instance_id)
        return entry.host if entry is not None and entry.up and not entry.rebooting else None

    def boots(self, instance_id: str) -> int:
        """The number of boots of the instance's host, including one in progress. 0: it has no host."""
        entry = self._find(instance_id)
        return entry.boots if entry is not None else 0

    def reboot(self, instance_id: str) -> None:
        """Reboot a running host and wait until it is up again. Raises HostError."""
        with self._lock:
            entry = self._entries.get(instance_id)
            up = entry is not None and entry.up and not entry.rebooting
            host: object = entry.host if entry is not None and up else None
            if entry is None or not isinstance(host, Rebootable):
                state = "there is no host" if entry is None else entry.state
                raise HostError(f"{instance_id} can't be rebooted", why=state, remedy="Reboot a running host.")
            entry.rebooting, entry.boots = True, entry.boots + 1
            state_after, entry.state = entry.state, "rebooting"
        try:
            host.reboot()
        except HostError as error:
            with self._lock:
                entry.up = False
            state_after = f"failed: {error}"
            raise
        finally:
            with self._lock:
                entry.state, entry.rebooting = state_after, False

    def reboot_in_background(self, instance_id: str) -> None:
        """As `reboot`, without waiting. A host that does not come up again is `failed`."""

        def reboot() -> None:
            with contextlib.suppress(HostError):
                self.reboot(instance_id)

        threading.Thread(target=reboot, name=f"reboot {instance_id}", daemon=True).start()

    def break_down(self, instance_id: str) -> None:
        """End a host for good, as a kernel panic does. The instance stays. Raises HostError."""
        with self._lock:
            entry = self._entries.get(instance_id)
            if entry is None or not entry.up or entry.host is None:
                state = "there is no host" if entry is None else entry.state
                raise HostError(f"{instance_id} can't be broken", why=state, remedy="Break a running host.")
            entry.up, entry.state, entry.boots = False, _BROKEN, entry.boots + 1
            self._folders.write(instance_id, HostRecord(entry.system, broken=True))
        entry.host.destroy()

    def system(self, instance_id: str) -> tuple[str, str]:
        """Name and version of the host's operating system, from its os-release."""
        with self._lock:
            return self._entries[instance_id].system

    def states(self) -> dict[str, str]:
        """By instance id: `booting`, `running`, `running (light)`, `rebooting`, `none`; `broken`, `failed` and why."""
        with self._lock:
            return {instance_id: entry.state for instance_id, entry in self._entries.items()}

    def attach(self, instance_id: str, volume: Volume) -> None:
        """Attach the volume to the instance's host, if it has one. Raises HostError."""
        entry = self._find(instance_id)
        if entry is not None and entry.host is not None:
            entry.host.attach_volume(volume)

    def detach(self, instance_id: str, volume: Volume) -> bool:
        """Detach the volume from the instance's host. False while it is mounted there. Raises HostError."""
        entry = self._find(instance_id)
        return entry is None or entry.host is None or entry.host.detach_volume(volume)

    def wait(self, instance_id: str, timeout: float) -> str:
        """Wait for the end of the boot, at most `timeout` seconds, and return the state of the host."""
        with self._lock:
            entry = self._entries[instance_id]
        if entry.host is not None:
            entry.settled.wait(timeout)
        return entry.state

    def destroy(self, instance_id: str) -> None:
        """Power the instance's host off and remove it and its files, if it has one."""
        self._power_off(instance_id)
        self._folders.remove(instance_id)

    def destroy_in_background(self, instance_id: str) -> None:
        """As `destroy`, without waiting: TerminateInstances returns before the host is off."""
        threading.Thread(target=self.destroy, args=(instance_id,), name=f"destroy {instance_id}", daemon=False).start()

    def close(self) -> None:
        """Power all hosts off, in parallel. Kept files stay."""
        with self._lock:
            instance_ids = list(self._entries)
        run_all([partial(self._power_off, instance_id) for instance_id in instance_ids])

    def _power_off(self, instance_id: str) -> None:
        with self._lock:
            entry = self._entries.pop(instance_id, None)
        if entry is not None and entry.host is not None:
            entry.destroyed = True
            # A boot in progress has not yet recorded all it creates, so wait for its end.
            entry.settled.wait()
            entry.host.destroy()

    def _find(self, instance_id: str) -> _Entry | None:
        with self._lock:
            return self._entries.get(instance_id)

    def _boot(self, entry: _Entry) -> None:
        assert entry.host is not None
        state = "failed: the boot was interrupted; see the rehearsal's log"
        try:
            if not entry.destroyed:
                entry.host.boot()
                entry.system = _system(entry.host)
                self._folders.write(entry.host.name, HostRecord(entry.system))
            state = f"running ({entry.host.label})" if isinstance(entry.host, Labelled) else "running"
        except HostError as error:
            state = f"failed: {error}"
        finally:
            with self._lock:
                entry.state = state
                entry.up = entry.has_been_up = state.startswith("running")
            entry.settled.set()


def _system(host: Host) -> tuple[str, str]:
    lines = host.read_file("/etc/os-release").splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return values.get("NAME", "Linux").strip('"'), values.get("VERSION_ID", "").strip('"')


def run_all(jobs: list[Callable[[], None]]) -> None:
    """Run the jobs at the same time and wait for all of them. Raises the first exception."""
    failures: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
