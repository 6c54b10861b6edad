"""Records the programs executed on this machine with the kernel's proc connector (connector.rst of Linux).

Polling /proc misses processes that live for some milliseconds; the kernel reports all. The arguments of a process are
read right after its event, which is early enough for processes that live for a millisecond.
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
# The event type, the processor, the time in nanoseconds, then the process and thread ids of an EXEC event.
_PROC_EVENT = struct.Struct("=IIQII")
_SO_RCVBUFFORCE = 33
_BUFFER = 8 << 20
_READY = b"listening\n"


class Executions:
    """Records from its creation until `end`. Needs root; raises AssertionError when the kernel reports no events.

    The listener is a process with real-time priority: at normal priority, short-lived processes would end before it
    runs.
    """

    def __init__(self) -> None:
        self._listener = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._listener.stdout is not None
        assert self._listener.stdout.readline() == _READY, "the kernel reports no executions"

    def end(self) -> list[bytes]:
        """Stop recording; returns the command lines of all executed programs, arguments separated by spaces."""
        output, _ = self._listener.communicate()
        assert self._listener.returncode == 0, "the listener may have missed executions"
        return output.splitlines()


def _listen() -> None:
    """Record until standard input ends, and only then write the result, since writing takes time."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    seen: set[bytes] = set()
    with _subscribed() as connector, selectors.DefaultSelector() as selector:
        selector.register(connector, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        sys.stdout.buffer.write(_READY)
        sys.stdout.flush()
        while all(key.fileobj is connector for key, _ in selector.select()):
            _record(connector.recv(_BUFFER), seen)
    sys.stdout.buffer.writelines(line.replace(b"\n", b" ") + b"\n" for line in seen)


def _record(message: bytes, seen: set[bytes]) -> None:
    event, _, _, pid, _ = _PROC_EVENT.unpack_from(message, _NLMSGHDR.size + _CN_MSG.size)
    if event == _PROC_EVENT_EXEC:
        # The process may have ended.
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as arguments:  # noqa: PTH123 - faster
            seen.add(arguments.read().replace(b"\0", b" "))


def _subscribed() -> socket.socket:
    connector = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR)
    connector.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    connector.bind((0, _CN_IDX_PROC))
    operation = struct.pack("=I", _PROC_CN_MCAST_LISTEN)
    message = _CN_MSG.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(operation), 0) + operation
    connector.send(_NLMSGHDR.pack(_NLMSGHDR.size + len(message), _NLMSG_DONE, 0, 0, 0) + message)
    return connector


if __name__ == "__main__":
    _listen()
