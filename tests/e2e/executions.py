"""Which programs are executed on this machine, as the kernel tells it: proc connector, see connector.rst of Linux.

Reading /proc again and again misses a process that lives for some milliseconds; the kernel misses none. Its arguments
are read right after it was told of, which is early enough for all that takes a millisecond.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import subprocess
import sys

# linux/netlink.h, linux/connector.h, linux/cn_proc.h
_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = _CN_VAL_PROC = 1
_PROC_CN_MCAST_LISTEN = 1
_NLMSG_DONE = 3
_PROC_EVENT_EXEC = 2
_NLMSGHDR = struct.Struct("=IHHII")
_CN_MSG = struct.Struct("=IIIIHH")
# What happened, the processor and the time in nanoseconds, then the process: two of its numbers are all of an EXEC.
_PROC_EVENT = struct.Struct("=IIQII")
_SO_RCVBUFFORCE = 33
_BUFFER = 8 << 20
_READY = b"listening\n"


class Executions:
    """Told from when it is made until `end`. Needs root; raises AssertionError where the kernel tells nothing.

    It is a process of its own, which runs before all others that want to: by the time this one had its turn, much of
    what was executed would be over.
    """

    def __init__(self) -> None:
        self._listener = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._listener.stdout is not None
        assert self._listener.stdout.readline() == _READY, "nobody tells what is executed here"

    def end(self) -> list[bytes]:
        """The arguments of all that was executed meanwhile, separated by blanks."""
        told, _ = self._listener.communicate()
        assert self._listener.returncode == 0, "something that was executed may have been missed"
        return told.splitlines()


def _listen() -> None:
    """Until standard input ends; what was told is written then, for writing takes time."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    seen: set[bytes] = set()
    with _subscribed() as connector, selectors.DefaultSelector() as selector:
        selector.register(connector, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        sys.stdout.buffer.write(_READY)
        sys.stdout.flush()
        while all(key.fileobj is connector for key, _ in selector.select()):
            _note(connector.recv(_BUFFER), seen)
    sys.stdout.buffer.writelines(one.replace(b"\n", b" ") + b"\n" for one in seen)


def _note(told: bytes, seen: set[bytes]) -> None:
    what, _, _, pid, _ = _PROC_EVENT.unpack_from(told, _NLMSGHDR.size + _CN_MSG.size)
    if what == _PROC_EVENT_EXEC:
        # It may be over already.
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as arguments:  # noqa: PTH123 # quicker
            seen.add(arguments.read().replace(b"\0", b" "))


def _subscribed() -> socket.socket:
    connector = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR)
    connector.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    connector.bind((0, _CN_IDX_PROC))
    wanted = struct.pack("=I", _PROC_CN_MCAST_LISTEN)
    message = _CN_MSG.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(wanted), 0) + wanted
    connector.send(_NLMSGHDR.pack(_NLMSGHDR.size + len(message), _NLMSG_DONE, 0, 0, 0) + message)
    return connector


if __name__ == "__main__":
    _listen()
