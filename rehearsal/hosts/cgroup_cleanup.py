"""Removes what a rehearsal that was killed outright could not remove itself."""

from rehearsal.hosts import cgroups


def sweep() -> list[str]:
    """End and remove every host whose owner is gone, and give their cgroups' names.

    An owner's death takes its hosts' processes, mounts and files along at once (see `image/host.sh`; only files on a
    `disk` stay), and with them the data and devices of volumes (see `volumes`); the kernel leaves the empty cgroup
    folders, and any process that got stuck. Hosts of living rehearsals are told by pid and start time, and left alone.
    Raises HostError.
    """
    names = cgroups.abandoned()
    for name in names:
        cgroups.remove(name)
    return names
