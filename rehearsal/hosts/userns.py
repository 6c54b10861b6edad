"""User namespaces: root and every other user of a host is an unprivileged, unused id on this machine."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

from rehearsal.hosts.errors import HostError
from rehearsal.hosts.netns import NetworkNamespace

_IDS = 1 << 16
# The range of systemd-nspawn, which no account of this machine uses (systemd, "Users, Groups, UIDs and GIDs").
_FIRST_IDS = range(0x10000000, 0x70000000, _IDS)


class UserNamespace:
    """A new user namespace with ids 0 to 65535, and a network namespace that belongs to its root.

    They exist as long as a process in them, or this object. `first_id`: the id of its root on this machine.
    """

    def __init__(self) -> None:
        """Raises HostError where the kernel does not allow it."""
        self.first_id = random.SystemRandom().choice(_FIRST_IDS)
        self.descriptor = -1
        with subprocess.Popen(
            ["unshare", "--user", "--net", "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as member:
            assert member.stdin is not None
            assert member.stdout is not None
            assert member.stderr is not None
            try:
                member.stdin.write(b"\n")
                member.stdin.flush()
                if not member.stdout.read(1):
                    raise OSError(member.stderr.read().decode().strip())
                for ids in ("uid_map", "gid_map"):
                    Path(f"/proc/{member.pid}/{ids}").write_text(f"0 {self.first_id} {_IDS}\n")
                self.descriptor = os.open(f"/proc/{member.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
                self.network = NetworkNamespace(os.open(f"/proc/{member.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                self.close()
                raise HostError(
                    "A user namespace for the host could not be created",
                    why=str(error),
                    remedy="Run this as root, where user namespaces are allowed (sysctl user.max_user_namespaces).",
                ) from error

    def close(self) -> None:
        """Release the user namespace. The network namespace has a `close` of its own."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
