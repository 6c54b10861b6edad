"""One Debian under systemd: its processes, from the first to the last."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from typing import IO

from rehearsal.hosts import cgroups, processes
from rehearsal.hosts.devices import Devices
from rehearsal.hosts.disk import Disk
from rehearsal.hosts.enclosure import Enclosure
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.rootfs import Rootfs
from rehearsal.hosts.tools import BARE_ENVIRONMENT
from rehearsal.hosts.userns import UserNamespace

AGENT_UNIT = "amazon-ssm-agent.service"
_POWER_OFF = signal.SIGRTMIN + 4  # systemd(1), "Signals"
_CONSOLE_LINES = 40
_POLL = 0.02
_ASK_AGAIN = 0.5


class Container(Enclosure):
    """A container, started by `start` and gone, with its cgroup and files in memory, after `stop`."""

    _further_namespaces = ("--cgroup",)

    def __init__(self, name: str, rootfs: Rootfs, owner: UserNamespace, devices: Devices) -> None:
        super().__init__(name, owner, devices)
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
        # Not by way of the host's own files: a folder there may be a link to anywhere.
        return f"/proc/{scripts[0] if scripts else 0}/root/sys/fs/cgroup/{self._cgroup}/host/system.slice/{AGENT_UNIT}"

    def start(self, seed: bytes, disk: Disk) -> None:
        """Start booting, with the files of the tar archive `seed` laid over the root file system. Raises HostError."""
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
                    raise self._error("it is not running", remedy="See its console's last lines above.")
                elif time.monotonic() > deadline:
                    raise self._error(
                        f"it was not up within {timeout:.0f} s",
                        remedy="See its console's last lines above; a machine short of memory boots slowly.",
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
        # The host may go down under the very command that asks it to.
        with contextlib.suppress(HostError):
            self.execute("systemctl reboot", "", purpose="reboot")
        while self._leader() == before:
            if time.monotonic() > deadline:
                raise self._error(f"it did not go down within {timeout:.0f} s", remedy="See its console above.")
            time.sleep(_POLL)
        self.ready_leader(max(deadline - time.monotonic(), _POLL))

    def _power_off(self, process: "subprocess.Popen[bytes]", timeout: float) -> None:
        """Ask until it is done: systemd doesn't hear a request while it starts, or while it reboots."""
        deadline = time.monotonic() + timeout
        while process.poll() is None and time.monotonic() < deadline:
            if leader := self._leader():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(leader, _POWER_OFF)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ASK_AGAIN)

    def _leader(self) -> int | None:
        """unshare starts host.sh, that starts another unshare, that starts the host's systemd."""
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
            asked = subprocess.run(
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
        return asked.stdout.strip()

    def _read_console(self, console: IO[bytes]) -> None:
        with console:
            for line in console:
                self._console.append(line.decode(errors="replace").rstrip())

    def _error(self, why: str, *, remedy: str) -> HostError:
        console = "\n".join(self._console)
        return HostError(f"Host {self.name} can't be used", why=f"{why}\n{console}".strip(), remedy=remedy)
