"""The processes of a host: how they come to be in namespaces of the host's own, and how this process gets in there."""

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
# Within the host's user namespace none of them reaches this machine; so what looks for them sees that they are not had.
_BOUNDED = (
    "-mknod,-sys_rawio,-sys_module,-sys_time,-syslog,-audit_control,-audit_read,-bpf,-perfmon,-mac_admin,-mac_override"
)
# $1 the cgroup to enter, if any; then a command that enters the host. This shell is this machine's and stays outside,
# but its child is in the host's pid namespace, so no program of the host's ever runs elsewhere. The host sees the child
# on its way in, and can't look into it: it is this machine's root, then not dumpable (ptrace(2), "Ptrace access mode
# checking").
# nsenter's own child would do for this, but nsenter stops itself when its child is stopped, which a host that shuts
# down does to all processes, and then that host never ends. The shell's remark on a killed child is not output.
# Where standard input is a socket, the child's pid as this machine sees it goes out there.
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
    """What `nsenter` calls those that not every host has of its own."""

    def __init__(self, name: str, owner: UserNamespace, devices: Devices) -> None:
        self.name = name
        self._owner = owner
        self._devices = devices

    @property
    def agent_cgroup(self) -> str:
        """The folder, on this machine, of the cgroup that the host's agent's processes belong to; "" for none."""
        return ""

    @abstractmethod
    def ready_leader(self, timeout: float) -> int:
        """The pid, on this machine, of the host's first process, once the host is up.

        Waits through a boot or reboot under way, at most `timeout` seconds. Raises HostError.
        """

    @abstractmethod
    def reboot(self, timeout: float) -> None:
        """End all that runs in the host and start it again on the same files; back once it is up. Raises HostError."""

    @abstractmethod
    def stop(self, timeout: float = 10) -> None:
        """Power off, by force after `timeout` seconds, and remove what the kernel doesn't."""

    def execute(self, command: str, text: str, *, purpose: str) -> str:
        """Run a shell command in the host outside of its services, with `text` as input, and give its
        output.
        """
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
                remedy="Look at the path in the host; it is root who reads and writes there.",
            )
        return done.stdout

    def enter(self, leader: int, script: str, *arguments: str, cgroup: str = "") -> list[str]:
        """The command line of a shell script, with arguments, in the host: as root, in its root folder."""
        entrance = ("nsenter", f"--target={leader}")
        inside = ("--user", "--mount", "--uts", "--ipc", "--net", *self._further_namespaces, "--root", "--wd")
        return [
            *(*entrance, "--pid", "--no-fork", "--", "sh", "-c", _ENTER, "sh", cgroup),
            *(*entrance, *inside, "--", "setpriv", f"--bounding-set={_BOUNDED}"),
            *("sh", "-c", script, "sh", *arguments),
        ]

    def _begin(self, seed: bytes, disk: Disk, *unshared: str, **settings: object) -> subprocess.Popen[bytes]:
        """Start `image/host.sh`, which says what the settings are. Raises HostError."""
        seed_file = os.memfd_create("host-seed")
        try:
            os.write(seed_file, seed)
            with disk.held() as lock:
                owner, devices = self._owner, self._devices.descriptor
                network, user = owner.network.descriptor, owner.descriptor
                known = {
                    "NAME": self.name,
                    "FOLDER": disk.folder,
                    "SEED": f"/proc/self/fd/{seed_file}",
                    "USER_NAMESPACE": user,
                    "FIRST_ID": owner.first_id,
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
                    env={**BARE_ENVIRONMENT, **{name: str(value) for name, value in (known | settings).items()}},
                    pass_fds=(seed_file, network, user, devices, *lock),
                    start_new_session=True,
                )
        finally:
            os.close(seed_file)
