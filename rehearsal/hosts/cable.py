"""A virtual cable between two network namespaces, as between a machine and the network it is in.

With it what is on the far end listens there, not in the host: every port of the host is the host's own, and who
comes from there comes from outside.
"""

import subprocess
from dataclasses import dataclass

from rehearsal.hosts.netns import NetworkNamespace

_NAME = "eth0"
_MTU = 65535


@dataclass(frozen=True)
class End:
    """A namespace, the IPv4 addresses, with prefix lengths, that it gets, and those it is to find at the other end."""

    namespace: NetworkNamespace
    addresses: tuple[str, ...]
    reaches: tuple[str, ...] = ()


def connect(near: End, far: End) -> None:
    """Lay a cable, which is gone with either namespace. Raises OSError where the kernel has none."""
    far_side = f"/proc/self/fd/{far.namespace.descriptor}"
    _ip(near, far, f"link add {_NAME} mtu {_MTU} type veth peer name {_NAME} mtu {_MTU} netns {far_side}")
    for end in (near, far):
        given = [f"address add {address} dev {_NAME}" for address in end.addresses]
        routes = [f"route add {address} dev {_NAME}" for address in end.reaches]
        _ip(end, far, *given, f"link set {_NAME} up", *routes)


def _ip(inside: End, far: End, *commands: str) -> None:
    done = subprocess.run(
        ["nsenter", f"--net=/proc/self/fd/{inside.namespace.descriptor}", "ip", "-batch", "-"],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        pass_fds=(inside.namespace.descriptor, far.namespace.descriptor),
        check=False,
    )
    if done.returncode != 0:
        raise OSError(f"ip {commands[0]}: {done.stderr.strip()}")
