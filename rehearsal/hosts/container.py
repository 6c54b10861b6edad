"""The container of a host: its processes, in namespaces of their own, and how this process enters them."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path

from rehearsal.hosts.devices import Devices
from rehearsal.hosts.disk import Disk
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.tools import BARE_ENVIRONMENT
from rehearsal.hosts.userns import UserNamespace

_SCRIPT = Path(__file__).parent / "image" / "host.sh"
_EXECUTE_TIMEOUT = 60.0
# The user namespace already keeps these from reaching this machine. Dropping them shows programs that they are missing.
_BOUNDED = (
    "-mknod,-sys_rawio,-sys_module,-sys_time,-syslog,-audit_control,-audit_read,-bpf,-perfmon,-mac_admin,-mac_override"
)
# $1 the cgroup to enter, if any; then a command that enters the host. This shell stays outside, but its child is in the
# host's pid namespace, so no program of the host ever runs elsewhere. The host sees the child before it is inside, and
# cannot inspect it: it is root of this machine, then not dumpable (ptrace(2), "Ptrace access mode checking").
# nsenter's own child would do, but nsenter stops when its child is stopped. A host that shuts down stops all processes,
# and would then never end. The shell's message about a killed child is not output.
# If standard input is a socket, the child's pid on this machine is written there.
_ENTER = """
cgroup=$1
shift
exec 3>&2 2>/dev/null 4<&0
(
    exec 2>&3 3>&- 4<&-
    [ -z "$cgroup" ] || echo 0 >"$cgroup/cgroup.procs" || exit
    exec "$@"
) <&4 &
echo $! >&4
wait $!
"""


class Container(ABC):
    """The processes of one host in a user namespace and its network, with the devices it may use."""

    _further_namespaces: tuple[str, ...] = ()
    """Options of `nsenter` for namespaces that only some hosts have."""

    def __init__(self, name: str, user_namespace: UserNamespace, devices: Devices) -> None:
        self.name = name
        self._user_namespace = user_namespace
        self._devices = devices

    @property
    def agent_cgroup(self) -> str:
        """The folder, on this machine, of the cgroup of the host's agent; "" for none."""
        return ""

    @abstractmethod
    def ready_leader(self, timeout: float) -> int:
        """Wait until the host is up, and return the pid, on this machine, of its first process. Raises HostError."""

    @abstractmethod
    def reboot(self, timeout: float) -> None:
        """End all processes, keep the files, and wait until the host is up again. Raises HostError."""

    @abstractmethod
    def stop(self, timeout: float = 10) -> None:
        """Power off, by SIGKILL after `timeout` seconds, and remove what the kernel does not."""

    def execute(self, command: str, text: str, *, purpose: str) -> str:
        """Run a shell command in the host with `text` as input, and return its output. Raises HostError."""
        leader = self.ready_leader(_EXECUTE_TIMEOUT)
        done = subprocess.run(
            self.enter(leader, f"set -eu\n{command}"),
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            env=BARE_ENVIRONMENT,
            check=False,
        )
        if done.returncode != 0:
            raise HostError(
                f"Host {self.name} could not {purpose}",
                why=done.stderr.strip() or f"exit status {done.returncode}",
                remedy="Check the path in the host. Root reads and writes there.",
            )
        return done.stdout

    def enter(self, leader: int, script: str, *arguments: str, cgroup: str = "") -> list[str]:
        """The command line that runs a shell script in the host, as root in the root folder."""
        entrance = ("nsenter", f"--target={leader}")
        inside = ("--user", "--mount", "--uts", "--ipc", "--net", *self._further_namespaces, "--root", "--wd")
        return [
            *(*entrance, "--pid", "--no-fork", "--", "sh", "-c", _ENTER, "sh", cgroup),
            *(*entrance, *inside, "--", "setpriv", f"--bounding-set={_BOUNDED}"),
            *("sh", "-c", script, "sh", *arguments),
        ]

    def _begin(self, seed: bytes, disk: Disk, *unshared: str, **settings: object) -> subprocess.Popen[bytes]:
        """Start `image/host.sh`, which documents the settings. Raises HostError."""
        seed_file = os.memfd_create("host-seed")
        try:
            os.write(seed_file, seed)
            with disk.held() as lock:
                namespace, devices = self._user_namespace, self._devices.descriptor
                network, user = namespace.network.descriptor, namespace.descriptor
                common = {
                    "NAME": self.name,
                    "FOLDER": disk.folder,
                    "SEED": f"/proc/self/fd/{seed_file}",
                    "USER_NAMESPACE": user,
                    "FIRST_ID": namespace.first_id,
                    "DEVICES": devices,
                    "BOUNDED": _BOUNDED,
                    "PYTHON": sys.executable,
                }
                return subprocess.Popen(
                    [
                        *("nsenter", f"--net=/proc/self/fd/{network}"),
                        *("unshare", "--mount", "--propagation", "private", *unshared, "bash", str(_SCRIPT)),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env={**BARE_ENVIRONMENT, **{name: str(value) for name, value in (common | settings).items()}},
                    pass_fds=(seed_file, network, user, devices, *lock),
                    start_new_session=True,
                )
        finally:
            os.close(seed_file)
