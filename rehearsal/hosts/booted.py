"""A host that is a real Debian, booted by systemd, with its own packages, services and network."""

import contextlib
import functools
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

from rehearsal.hosts import (
    aws_sites,
    cache,
    certificates,
    cgroups,
    code_server_package,
    processes,
    registry_proxy,
    seed,
    standins,
)
from rehearsal.hosts.certificates import Authority
from rehearsal.hosts.code_server_package import CodeServerPackage
from rehearsal.hosts.container import Container
from rehearsal.hosts.container_host import ContainerHost
from rehearsal.hosts.devices import Devices
from rehearsal.hosts.disk import Disk
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.netns import End, NetworkNamespace, connect_by_veth
from rehearsal.hosts.requirements import Missing, missing
from rehearsal.hosts.rootfs import Rootfs
from rehearsal.hosts.tools import BARE_ENVIRONMENT
from rehearsal.hosts.userns import UserNamespace

AGENT_UNIT = "amazon-ssm-agent.service"
_POWER_OFF = signal.SIGRTMIN + 4  # systemd(1), "Signals"
_CONSOLE_LINES = 40
_POLL = 0.02
_REPEAT = 0.5
_BOOT_TIMEOUT = 90.0


class SystemdContainer(Container):
    """A Debian under systemd. `stop` removes its cgroup and what it has in memory."""

    _further_namespaces = ("--cgroup",)

    def __init__(self, name: str, rootfs: Rootfs, user_namespace: UserNamespace, devices: Devices) -> None:
        super().__init__(name, user_namespace, devices)
        self._rootfs = rootfs
        self._cgroup = cgroups.name_for(name)
        self._console: deque[str] = deque(maxlen=_CONSOLE_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._ready: int | None = None
        self._readiness = threading.Lock()

    @property
    def agent_cgroup(self) -> str:
        scripts = processes.children(self._process.pid) if self._process else []
        # Not through the host's own files, where a folder may be a link to anywhere.
        return f"/proc/{scripts[0] if scripts else 0}/root/sys/fs/cgroup/{self._cgroup}/host/system.slice/{AGENT_UNIT}"

    def start(self, seed: bytes, disk: Disk) -> None:
        """Start booting, with the tar archive `seed` unpacked over the root file system. Raises HostError."""
        self._process = self._begin(
            *(seed, disk, "--mount-proc", "--pid", "--fork", "--kill-child"),
            KIND="booted",
            TREE=self._rootfs.tree,
            CGROUP=self._cgroup,
            MASKS="",
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read_console, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def ready_leader(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        with self._readiness:
            while (leader := self._leader()) is None or leader != self._ready:
                if leader is not None and self._state(leader, deadline) in ("running", "degraded"):
                    self._ready = leader
                elif self._process is None or self._process.poll() is not None:
                    raise self._error("it is not running", remedy="See the end of its console above.")
                elif time.monotonic() > deadline:
                    raise self._error(
                        f"it was not up within {timeout:.0f} s",
                        remedy="See the end of its console above. With little free memory hosts boot slowly.",
                    )
                else:
                    time.sleep(_POLL)
            return leader

    def stop(self, timeout: float = 10) -> None:
        if self._process is None:
            return
        if self._ready is not None:
            self._power_off(self._process, timeout)
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        cgroups.remove(self._cgroup)
        if self._reader is not None:
            self._reader.join()
        self._process = self._ready = None

    def reboot(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        before = self.ready_leader(timeout)
        # The host may go down while this command still runs.
        with contextlib.suppress(HostError):
            self.execute("systemctl reboot", "", purpose="reboot")
        while self._leader() == before:
            if time.monotonic() > deadline:
                raise self._error(f"it did not go down within {timeout:.0f} s", remedy="See its console above.")
            time.sleep(_POLL)
        self.ready_leader(max(deadline - time.monotonic(), _POLL))

    def _power_off(self, process: "subprocess.Popen[bytes]", timeout: float) -> None:
        """Repeat the request: systemd ignores it while it starts or reboots."""
        deadline = time.monotonic() + timeout
        while process.poll() is None and time.monotonic() < deadline:
            if leader := self._leader():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(leader, _POWER_OFF)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_REPEAT)

    def _leader(self) -> int | None:
        """unshare starts host.sh, which starts another unshare, which starts the host's systemd."""
        if self._process is None:
            return None
        for script in processes.children(self._process.pid):
            for entrance in processes.children(script):
                if processes.program(entrance) == "unshare":
                    for child in processes.children(entrance):
                        if processes.program(child) == "systemd":
                            return child
        return None

    def _state(self, leader: int, deadline: float) -> str:
        try:
            done = subprocess.run(
                self.enter(leader, "systemctl is-system-running --wait"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=BARE_ENVIRONMENT,
                timeout=max(deadline - time.monotonic(), _POLL),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout.strip()

    def _read_console(self, console: IO[bytes]) -> None:
        with console:
            for line in console:
                self._console.append(line.decode(errors="replace").rstrip())

    def _error(self, why: str, *, remedy: str) -> HostError:
        console = "\n".join(self._console)
        return HostError(f"Host {self.name} can't be used", why=f"{why}\n{console}".strip(), remedy=remedy)


class BootedHost(ContainerHost):
    """A `Host` of a Debian suite whose images are built (see `images`)."""

    def __init__(self, name: str, *, region: str, suite: str, folder: Path | None = None) -> None:
        super().__init__(name, region=region, folder=folder)
        self._rootfs = Rootfs(suite)

    def _missing(self) -> list[Missing]:
        return missing(self._rootfs.suite)

    def _start(self, user_namespace: UserNamespace, devices: Devices) -> None:
        self._disk.take(self._rootfs.suite, self._rootfs.tree)
        authority = certificates.for_region(self._region, self._disk.file("authority.pem"))
        self._serve_sites(user_namespace.network, authority)
        container = SystemdContainer(self._name, self._rootfs, user_namespace, devices)
        self._begin_with(container)
        container.start(self._seed(seed.archive, self._rootfs.tree, authority), self._disk)
        container.ready_leader(_BOOT_TIMEOUT)

    def _serve_sites(self, network: NetworkNamespace, authority: Authority) -> None:
        packages = cache.directory() / "debian-packages"
        listener = network.listen(registry_proxy.ADDRESS, registry_proxy.PORT)
        self._serve(listener, registry_proxy.handler(packages, self._rootfs.archives))
        outside = NetworkNamespace()
        self._cleanup.append(outside.close)
        _connect(network, outside)
        neuron = standins.NeuronRepository(self._rootfs.suite, self._rootfs.neuron_repository)
        listener = outside.listen(standins.ADDRESS, standins.PORT)
        self._serve(listener, standins.handler(_release(), neuron, self._aws), authority.server)
        listener = outside.listen(aws_sites.METADATA, aws_sites.METADATA_PORT)
        self._serve(listener, aws_sites.handler(self._aws))


def factory(suite: str) -> Callable[..., BootedHost]:
    """A `HostFactory` for hosts of a Debian suite."""
    return functools.partial(BootedHost, suite=suite)


def _connect(host: NetworkNamespace, outside: NetworkNamespace) -> None:
    try:
        connect_by_veth(
            End(host, (f"{standins.HOST_ADDRESS}/{standins.PREFIX_LENGTH}",), reaches=(aws_sites.METADATA,)),
            End(outside, (f"{standins.ADDRESS}/{standins.PREFIX_LENGTH}", f"{aws_sites.METADATA}/32")),
        )
    except OSError as error:
        raise HostError(
            "The host could not be connected to the stand-ins for internet sites",
            why=str(error),
            remedy="Use a kernel with virtual Ethernet (modprobe veth).",
        ) from error


def _release() -> standins.Release:
    version = code_server_package.VERSION
    architecture = code_server_package.debian_architecture()
    return standins.Release(version, f"code-server_{version}_{architecture}.deb", CodeServerPackage().path)
