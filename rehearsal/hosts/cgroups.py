"""The cgroup each host lives in, whose name is also the record of who started the host.

A host's processes all live under one cgroup, named after the process that owns the host and the time that
process started. So whatever a killed rehearsal left can be found, told from a living one's, killed and
removed, and there is no record file that could be missing or stale.
"""

import itertools
import os
import re
import subprocess

from rehearsal.hosts import processes
from rehearsal.hosts.errors import HostError

_NAME = re.compile(r"torchneuron-rehearsal-(?P<pid>\d+)-(?P<started>\d+)-.+")
_serial = itertools.count(1)

# This machine may mount cgroup2 anywhere or not at all: look at it through a mount that only this command
# sees.
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
    """A new cgroup name for a host that this process owns."""
    pid = os.getpid()
    return f"torchneuron-rehearsal-{pid}-{processes.start_time(pid)}-{next(_serial)}-{host}"


def abandoned() -> list[str]:
    """The cgroups of hosts whose owner is gone."""
    names = [match for name in _run(_LIST).split() if (match := _NAME.fullmatch(name))]
    return [name.string for name in names if not _owner_lives(name)]


def remove_orphans() -> list[str]:
    """End and remove every host whose owner is gone. Returns the names of their cgroups. Raises HostError.

    When an owner dies, the kernel ends its hosts and drops their mounts and files (see `image/host.sh`). What stays are
    empty cgroup folders, and processes that hang. Hosts of live rehearsals are left alone.
    """
    names = abandoned()
    for name in names:
        remove(name)
    return names


def remove(name: str) -> None:
    """Kill what still runs in a cgroup and remove it. Nothing happens when it is gone already."""
    _run(_REMOVE, name)


def _owner_lives(match: re.Match[str]) -> bool:
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
            "A host's cgroup could not be looked after",
            why=done.stderr.strip(),
            remedy="Run this as root on a Linux with cgroup2 (5.14 or newer).",
        )
    return done.stdout
