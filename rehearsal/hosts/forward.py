"""Forwards a loopback port on this machine to a port in a host, as a Session Manager port forward does."""

import contextlib
import socket
import threading
from collections.abc import Callable

_CHUNK = 64 * 1024


class Forward:
    """A listening loopback port. Each connection is spliced to a socket from `connect`."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._acceptor = threading.Thread(target=self._accept, name=f"forward-{self.port}", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening and close every connection."""
        hang_up(self._listener)
        self._acceptor.join()
        with self._lock:
            self._closed = True
            connections = list(self._open)
        for connection in connections:
            hang_up(connection)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                self._listener.close()
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                server = self._connect()
            except OSError:
                return  # nothing listens there, and the client sees its connection closed
            with server:
                if not self._track(client, server):
                    return
                splice(client, server)
                with self._lock:
                    self._open.difference_update((client, server))

    def _track(self, *connections: socket.socket) -> bool:
        with self._lock:
            if not self._closed:
                self._open.update(connections)
            return not self._closed


def splice(left: socket.socket, right: socket.socket) -> None:
    """Copy both ways until both sides have finished sending."""
    back = threading.Thread(target=_pump, args=(right, left), daemon=True)
    back.start()
    _pump(left, right)
    back.join()


def hang_up(connection: socket.socket) -> None:
    """Wake a thread that is blocked on this socket. The socket's owner closes it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
    except OSError:
        hang_up(source)
    finally:
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
