"""Getting into a host: processes that are on this machine and yet root's, in the host's own namespaces."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod

from rehearsal.hosts.errors import HostError

_EXECUTE_TIMEOUT = 60.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# nsenter's own child would do for this, but nsenter stops itself when its child is stopped, which a host that
# shuts down does to all processes, and then that host never ends. The shell's remark on a killed child is not
# output.
IN_CHILD = """
exec 3>&2 2>/dev/null
(exec sh -euc "$1" 2>&3 3>&-)
exit $?
"""
BARE_ENVIRONMENT = {"PATH": _PATH, "LANG": "C.UTF-8"}
"""What systemd gives a service."""


class Enclosure(ABC):
    """The processes of one host. `agent_cgroup`: where in the host its agent's processes belong; "" for nowhere."""

    def __init__(self, name: str, *, agent_cgroup: str = "") -> None:
        self.name = name
        self.agent_cgroup = agent_cgroup

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
            self.enter(leader, IN_CHILD, command),
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

    def enter(self, leader: int, script: str, *arguments: str) -> list[str]:
        """The command line of a shell script, with arguments, in the host: as root, in its root folder.

        Only what the script forks is in the host's pid namespace; the script's own shell stays outside.
        """
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")
        entrance = ("nsenter", f"--target={leader}", *spaces, "--no-fork")
        return [*entrance, "--", "sh", "-c", script, "sh", *arguments]
