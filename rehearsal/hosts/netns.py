"""Network namespaces, in which this process can open sockets.

A socket stays in the namespace it was created in. So a thread enters the host's namespace, creates a socket and ends,
and the rest of this process uses the socket. This machine's own network gets no interface, address or firewall rule,
and only what this process serves goes in or out.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from rehearsal.hosts.errors import HostError

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
_IFF_UP = 0x1
_NAME = "eth0"
_MTU = 65535
_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


class NetworkNamespace:
    """A network namespace with only loopback, up. It exists as long as a process or socket in it, or this object."""

    def __init__(self, descriptor: int | None = None) -> None:
        """`descriptor`: an existing namespace, which this object then owns; else a new one. Raises HostError."""
        try:
            self.descriptor = _in_thread(_make_namespace) if descriptor is None else descriptor
            _in_thread(self._bring_up)
        except OSError as error:
            raise HostError(
                "A network for the host could not be created",
                why=str(error),
                remedy="Run this as root, outside of containers that forbid new namespaces.",
            ) from error

    def listen(self, address: str, port: int) -> socket.socket:
        """A TCP socket listening in the namespace. Raises OSError."""
        return _in_thread(lambda: self._listen(address, port))

    def add_loopback(self, address: str, number: int) -> None:
        """Add an IPv4 address to loopback, under a label with this number. Raises OSError."""
        _in_thread(lambda: self._add_loopback(f"lo:{number}".encode(), address))

    def listen_local(self, address: str) -> socket.socket:
        """A Unix socket listening at an abstract address in the namespace. Raises OSError."""

        def listen() -> socket.socket:
            self._enter()
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(address)
            listener.listen()
            return listener

        return _in_thread(listen)

    def connect(self, address: str, port: int, timeout: float = 10) -> socket.socket:
        """A TCP connection from the namespace; `timeout` seconds for connecting only. Raises OSError."""

        def connect() -> socket.socket:
            self._enter()
            connection = socket.create_connection((address, port), timeout)
            connection.settimeout(None)
            return connection

        return _in_thread(connect)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _listen(self, address: str, port: int) -> socket.socket:
        self._enter()
        return socket.create_server((address, port), backlog=64)

    def _add_loopback(self, label: bytes, address: str) -> None:
        self._enter()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.255")):
                packed = struct.pack("16sHH4s8x", label, socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(any_socket, request, packed)

    def _bring_up(self) -> None:
        self._enter()
        with socket.socket() as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))

    def _enter(self) -> None:
        _check(_libc.setns(self.descriptor, _CLONE_NEWNET))


@dataclass(frozen=True)
class End:
    """One end of a veth pair: its namespace, its IPv4 addresses with prefix lengths, and those it reaches beyond."""

    namespace: NetworkNamespace
    addresses: tuple[str, ...]
    reaches: tuple[str, ...] = ()


def connect_by_veth(near: End, far: End) -> None:
    """Connect two namespaces with a veth pair. Raises OSError where the kernel has no veth.

    What listens at the far end then uses no port of the host, and its connections come from outside the host.
    """
    far_side = f"/proc/self/fd/{far.namespace.descriptor}"
    _ip(near, far, f"link add {_NAME} mtu {_MTU} type veth peer name {_NAME} mtu {_MTU} netns {far_side}")
    for end in (near, far):
        addresses = [f"address add {address} dev {_NAME}" for address in end.addresses]
        routes = [f"route add {address} dev {_NAME}" for address in end.reaches]
        _ip(end, far, *addresses, f"link set {_NAME} up", *routes)


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


def _make_namespace() -> int:
    _check(_libc.unshare(_CLONE_NEWNET))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own: changing namespaces affects that thread only."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
