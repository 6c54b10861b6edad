"""A host without systemd, so cheap that a fleet of them fits a laptop.

The SSM agent's part is the same code as on a booted host: a script runs as a process group on the host's own files and
network, with the same environment. There are no services, units or sessions, and no stand-ins but those for AWS. The
files below the host's changes are those of the cached Debian if it was built, else this machine's own, read-only.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rehearsal.hosts import aws_sites, certificates, processes, seed, standins
from rehearsal.hosts.container import Container
from rehearsal.hosts.container_host import ContainerHost
from rehearsal.hosts.devices import Devices
from rehearsal.hosts.disk import Disk
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.netns import NetworkNamespace
from rehearsal.hosts.requirements import Missing, missing_for_light
from rehearsal.hosts.rootfs import Rootfs
from rehearsal.hosts.tools import BARE_ENVIRONMENT
from rehearsal.hosts.userns import UserNamespace

SUITE = "light"
OWN = Path("/")
"""The tree of a host on this machine's own files."""

_BOOT_TIMEOUT = 60.0
# Folders of this machine that a host on its files must not see.
_MASKS = (
    *("/tmp", "/var/tmp", "/run", "/root", "/home", "/mnt", "/media", "/srv", "/work"),
    *("/var/lib/torchneuron", "/var/log/torchneuron", "/var/lib/amazon", "/var/lib/rehearsal"),
)
# Kills all but process 1 and the shell itself, then does what a boot does: disks, empty /run and /tmp.
_REBOOT = f"""
kill -KILL -1 || :
umount --all --types ext2,ext3,ext4,xfs,btrfs 2>/dev/null || :
find /run /tmp -mindepth 1 -delete
sh {seed.VOLUMES_SCRIPT} boot
"""


class LightContainer(Container):
    """The processes of a light host, with its files over those of `tree`."""

    def __init__(self, name: str, tree: Path, user_namespace: UserNamespace, devices: Devices) -> None:
        super().__init__(name, user_namespace, devices)
        self._tree = tree
        self._process: subprocess.Popen[bytes] | None = None
        self._leader: int | None = None
        self._rebooting = threading.Lock()

    def start(self, archive: bytes, disk: Disk) -> None:
        """Start with the tar archive unpacked over the tree, and wait until the host is up. Raises HostError."""
        masks = " ".join(_masks(disk.folder)) if self._tree == OWN else ""
        process = self._process = self._begin(archive, disk, KIND="light", TREE=self._tree, CGROUP="", MASKS=masks)
        output = _read_until_up(process)
        leaders = processes.children(process.pid)
        if not output.endswith("up\n") or not leaders:
            raise HostError(
                f"Light host {self.name} did not come up",
                why=output.strip() or "it printed nothing",
                remedy="Run this as root on Linux 5.19 or newer, where namespaces and overlay mounts are allowed, with "
                "TORCHNEURON_CACHE_DIR on ext4, XFS or Btrfs.",
            )
        self._leader = leaders[0]

    def ready_leader(self, timeout: float) -> int:
        if not self._rebooting.acquire(timeout=timeout):
            raise self._unusable(f"it was not up within {timeout:.0f} s")
        try:
            if self._leader is None or self._process is None or self._process.poll() is not None:
                raise self._unusable("it is not running")
            return self._leader
        finally:
            self._rebooting.release()

    def reboot(self, timeout: float) -> None:
        leader = self.ready_leader(timeout)
        with self._rebooting:
            done = subprocess.run(
                self.enter(leader, _REBOOT),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=BARE_ENVIRONMENT,
                timeout=timeout,
                check=False,
            )
        if done.returncode != 0:
            raise self._unusable(f"it did not come up again: {done.stderr.strip()}")

    def stop(self, timeout: float = 10) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # The end of process 1 ends everything in the host, then unshare, its parent. If unshare ended first, process 1
        # would be an orphan, and this would wait until another process reaps it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._leader or self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process = self._leader = None

    def _unusable(self, why: str) -> HostError:
        return HostError(f"Host {self.name} can't be used", why=why, remedy="Launch another instance.")


class LightHost(ContainerHost):
    """A `Host` without systemd."""

    label = "light"

    def __init__(self, name: str, *, region: str, tree: Path | None = None, folder: Path | None = None) -> None:
        super().__init__(name, region=region, folder=folder)
        self._tree = default_tree() if tree is None else tree

    def _missing(self) -> list[Missing]:
        return missing_for_light()

    def _start(self, user_namespace: UserNamespace, devices: Devices) -> None:
        self._disk.take(SUITE, self._tree)
        authority = certificates.for_region(self._region, self._disk.file("authority.pem"))
        self._serve_aws(user_namespace.network, authority.server)
        container = LightContainer(self._name, self._tree, user_namespace, devices)
        self._begin_with(container)
        container.start(self._seed(seed.light_archive, self._tree, authority), self._disk)

    def _serve_aws(self, network: NetworkNamespace, tls: ssl.SSLContext) -> None:
        """On loopback, as there is no other network. Nothing in the host can bind these ports at all addresses."""
        sites = ((aws_sites.METADATA, aws_sites.METADATA_PORT, None), (standins.ADDRESS, standins.PORT, tls))
        for number, (address, port, context) in enumerate(sites):
            network.add_loopback(address, number)
            listener = network.listen(address, port)
            self._serve(listener, aws_sites.handler(self._aws), context)


def _masks(folder: str) -> tuple[str, ...]:
    """The folders of this machine that are hidden from a host, including those of other hosts beside its own."""
    return (*_MASKS, str(Path(folder).parents[1])) if folder else _MASKS


def factory(tree: Path | None = None) -> Callable[..., LightHost]:
    """A `HostFactory` for light hosts."""
    return functools.partial(LightHost, tree=tree)


def default_tree() -> Path:
    """The default tree of light hosts: the cached Debian, else this machine's files."""
    rootfs = Rootfs("trixie")
    return rootfs.tree if rootfs.path.exists() else OWN


def _read_until_up(process: subprocess.Popen[bytes]) -> str:
    """Its output until it is up, ends, or times out."""
    assert process.stdout is not None
    output, deadline = b"", time.monotonic() + _BOOT_TIMEOUT
    while not output.endswith(b"up\n") and (left := deadline - time.monotonic()) > 0:
        if not select.select([process.stdout], [], [], left)[0]:
            break
        new = os.read(process.stdout.fileno(), 4096)
        if not new:
            break
        output += new
    return output.decode(errors="replace")
