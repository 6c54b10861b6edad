"""The hosts behind the instances: booted in the background, found by instance id, destroyed with them."""

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

_BROKEN = "broken, as asked for"

InstanceSites = Callable[[str, str, SiteRequest], SiteAnswer]
"""AWS as an instance of a region sees it."""


@dataclass
class _Berth:
    machine: Host | None
    state: str
    settled: threading.Event = field(default_factory=threading.Event)
    gone: bool = False
    up: bool = False
    has_been_up: bool = False
    rebooting: bool = False
    boots: int = 1
    system: tuple[str, str] = ("Linux", "")


class Fleet:
    """One host an instance. Safe to use from any thread.

    With no factory an instance has no host: its state is `none`, no agent ever registers and nothing is run.
    """

    def __init__(
        self, factory: HostFactory | None, folder: Path | None = None, sites: InstanceSites | None = None
    ) -> None:
        """`folder`: where hosts outlive this process. `sites`: what they reach of AWS."""
        self._factory = factory
        self._sites = sites
        self._folders = HostFolders(folder)
        self._lock = threading.Lock()
        self._berths: dict[str, _Berth] = {}

    def launch(self, instance_id: str, *, region: str, volumes: Sequence[Volume] = ()) -> None:
        """Begin to boot the instance's host, with these volumes beside its root volume; returns at once.

        One that another process had goes on with its files, or stays broken.
        """
        if self._factory is None:
            with self._lock:
                self._berths[instance_id] = _Berth(None, "none")
            return
        before = self._folders.read(instance_id)
        machine = self._factory(instance_id, region=region, folder=self._folders.make(instance_id))
        if self._sites is not None and isinstance(machine, Connectable):
            machine.connect(partial(self._sites, instance_id, region))
        for volume in volumes:
            machine.attach_volume(volume)
        berth = _Berth(machine, _BROKEN if before.broken else "booting")
        if before.system is not None:
            berth.has_been_up, berth.system = True, before.system
        with self._lock:
            self._berths[instance_id] = berth
        if before.broken:
            berth.settled.set()
            return
        threading.Thread(target=self._boot, args=(berth,), name=f"boot {instance_id}", daemon=True).start()

    def can_go_on(self, instance_id: str) -> bool:
        """Whether the instance's host is there from another process, or there are no hosts at all."""
        return self._factory is None or self._folders.has(instance_id)

    def keep(self, instance_ids: Collection[str]) -> None:
        """Remove the files of all others."""
        self._folders.keep(instance_ids)

    def running(self, instance_id: str) -> Host | None:
        """The instance's host, once it has booted and until it is destroyed."""
        with self._lock:
            berth = self._berths.get(instance_id)
            return berth.machine if berth is not None and berth.up else None

    def has_been_up(self, instance_id: str) -> bool:
        """Whether the instance's host has booted once, whatever became of it then."""
        with self._lock:
            berth = self._berths.get(instance_id)
            return berth is not None and berth.has_been_up

    def ready(self, instance_id: str) -> Host | None:
        """The same, but None while it reboots."""
        with self._lock:
            berth = self._berths.get(instance_id)
            return berth.machine if berth is not None and berth.up and not berth.rebooting else None

    def boots(self, instance_id: str) -> int:
        """How often the instance's host has booted, a boot under way included; 0 when it has none any more."""
        with self._lock:
            berth = self._berths.get(instance_id)
            return berth.boots if berth is not None else 0

    def reboot(self, instance_id: str) -> None:
        """Reboot a host that runs, and wait until it is up again. Raises HostError."""
        with self._lock:
            berth = self._berths.get(instance_id)
            up = berth is not None and berth.up and not berth.rebooting
            machine: object = berth.machine if berth is not None and up else None
            if berth is None or not isinstance(machine, Rebootable):
                state = "there is no host" if berth is None else berth.state
                raise HostError(f"{instance_id} can't be rebooted", why=state, remedy="Reboot a host that runs.")
            berth.rebooting, berth.boots = True, berth.boots + 1
            before, berth.state = berth.state, "rebooting"
        try:
            machine.reboot()
        except HostError as error:
            with self._lock:
                berth.up = False
            before = f"failed: {error}"
            raise
        finally:
            with self._lock:
                berth.state, berth.rebooting = before, False

    def reboot_in_background(self, instance_id: str) -> None:
        """The same without waiting; a host that does not come up again is `failed`."""

        def reboot() -> None:
            with contextlib.suppress(HostError):
                self.reboot(instance_id)

        threading.Thread(target=reboot, name=f"reboot {instance_id}", daemon=True).start()

    def break_down(self, instance_id: str) -> None:
        """End a host at once and for good, as a kernel panic would; the instance stays. Raises HostError."""
        with self._lock:
            berth = self._berths.get(instance_id)
            if berth is None or not berth.up or berth.machine is None:
                state = "there is no host" if berth is None else berth.state
                raise HostError(f"{instance_id} can't be broken", why=state, remedy="Break a host that runs.")
            berth.up, berth.state, berth.boots = False, _BROKEN, berth.boots + 1
            self._folders.write(instance_id, HostRecord(berth.system, broken=True))
        berth.machine.destroy()

    def system(self, instance_id: str) -> tuple[str, str]:
        """Name and version of the system on a host that runs, by its own os-release."""
        with self._lock:
            return self._berths[instance_id].system

    def states(self) -> dict[str, str]:
        """By instance id: `booting`, `running`, `running (light)`, `rebooting`, `none`; `broken`, `failed` and why."""
        with self._lock:
            return {instance_id: berth.state for instance_id, berth in self._berths.items()}

    def attach(self, instance_id: str, volume: Volume) -> None:
        """Give the instance's host the volume; nothing happens when it has none. Raises HostError."""
        if machine := self._machine(instance_id):
            machine.attach_volume(volume)

    def detach(self, instance_id: str, volume: Volume) -> bool:
        """Take the volume from the instance's host; False while it is mounted there. Raises HostError."""
        machine = self._machine(instance_id)
        return machine is None or machine.detach_volume(volume)

    def wait(self, instance_id: str, timeout: float) -> str:
        """The instance's state once its boot has ended, or after `timeout` seconds, whichever is first."""
        with self._lock:
            berth = self._berths[instance_id]
        if berth.machine is not None:
            berth.settled.wait(timeout)
        return berth.state

    def destroy(self, instance_id: str) -> None:
        """Power the instance's host off and forget it and its files; nothing happens when it has none."""
        self._power_off(instance_id)
        self._folders.remove(instance_id)

    def destroy_in_background(self, instance_id: str) -> None:
        """The same without waiting: TerminateInstances answers before the machine is off."""
        threading.Thread(target=self.destroy, args=(instance_id,), name=f"destroy {instance_id}", daemon=False).start()

    def close(self) -> None:
        """Power every host off, in parallel, and wait for it. What is to outlive this process does."""
        with self._lock:
            instance_ids = list(self._berths)
        run_all([partial(self._power_off, one) for one in instance_ids])

    def _power_off(self, instance_id: str) -> None:
        with self._lock:
            berth = self._berths.pop(instance_id, None)
        if berth is not None and berth.machine is not None:
            berth.gone = True
            # A host half booted leaves things its boot has yet to record: let it finish (or fail) first.
            berth.settled.wait()
            berth.machine.destroy()

    def _machine(self, instance_id: str) -> Host | None:
        with self._lock:
            berth = self._berths.get(instance_id)
            return berth.machine if berth is not None else None

    def _boot(self, berth: _Berth) -> None:
        assert berth.machine is not None
        state = "failed: the boot broke off; see the rehearsal's log"
        try:
            if not berth.gone:
                berth.machine.boot()
                berth.system = _system(berth.machine)
                self._folders.write(berth.machine.name, HostRecord(berth.system))
            state = f"running ({berth.machine.label})" if isinstance(berth.machine, Labelled) else "running"
        except HostError as error:
            state = f"failed: {error}"
        finally:
            with self._lock:
                berth.state = state
                berth.up = berth.has_been_up = state.startswith("running")
            berth.settled.set()


def _system(machine: Host) -> tuple[str, str]:
    lines = machine.read_file("/etc/os-release").splitlines()
    known = dict(line.split("=", 1) for line in lines if "=" in line)
    return known.get("NAME", "Linux").strip('"'), known.get("VERSION_ID", "").strip('"')


def run_all(jobs: list[Callable[[], None]]) -> None:
    """Run the jobs at the same time and return when all have ended; the first exception is raised again."""
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
