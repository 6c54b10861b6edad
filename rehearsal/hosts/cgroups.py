"""The cgroup of each host, whose name also records which process owns the host.

All processes of a host are in one cgroup, named after the pid and start time of the owner. So what a killed rehearsal
leaves can be found and removed without a record that could be missing or stale.
"""

import itertools
import os
import re
import subprocess

from rehearsal.hosts import processes
from rehearsal.hosts.errors import HostError

_NAME = re.compile(r"torchneuron-rehearsal-(?P<pid>\d+)-(?P<started>\d+)-.+")
_serial = itertools.count(1)

# This machine may mount cgroup2 anywhere or not at all, so each command mounts it for itself.
_PRIVATE_VIEW = ("unshare", "--mount", "--propagation", "private", "sh", "-euc")
_LIST = "mount -t cgroup2 cgroup2 /sys/fs/cgroup; ls /sys/fs/cgroup"
_REMOVE = """
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cd /sys/fs/cgroup
test -d "$1" || exit 0
echo 1 >"$1/cgroup.kill"
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null && exit 0
    test -d "$1" || exit 0
    sleep 0.1
done
echo "processes in $1 don't die: $(find "$1" -name cgroup.procs -exec cat {} + | tr '\\n' ' ')" >&2
exit 1
"""


def name_for(host: str) -> str:
    """A new cgroup name for a host of this process."""
    pid = os.getpid()
    return f"torchneuron-rehearsal-{pid}-{processes.start_time(pid)}-{next(_serial)}-{host}"


def abandoned() -> list[str]:
    """The cgroups of hosts whose owner has ended."""
    names = [match for name in _run(_LIST).split() if (match := _NAME.fullmatch(name))]
    return [name.string for name in names if not _owner_runs(name)]


def remove_orphans() -> list[str]:
    """Remove the hosts whose owner has ended, and return the names of their cgroups. Raises HostError.

    The kernel ends an owner's hosts with it and drops their mounts and files (see `image/host.sh`). What remains are
    empty cgroup folders, and processes that hang.
    """
    names = abandoned()
    for name in names:
        remove(name)
    return names


def remove(name: str) -> None:
    """Kill what runs in a cgroup and remove it. Does nothing when it does not exist."""
    _run(_REMOVE, name)


def _owner_runs(match: re.Match[str]) -> bool:
    return processes.start_time(int(match["pid"])) == int(match["started"])


def _run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [*_PRIVATE_VIEW, script, "sh", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise HostError(
            "A host's cgroup can't be used",
            why=done.stderr.strip(),
            remedy="Run this as root on a Linux with cgroup2 (5.14 or newer).",
        )
    return done.stdout
