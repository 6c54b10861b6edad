"""An HTTP server inside a host, run by this process: the stand-ins and the registry proxy are such
services.
"""

import contextlib
import logging
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rehearsal.hosts.forward import hang_up

_GOODBYE_TIMEOUT = 1.0
_log = logging.getLogger(__name__)


class Service:
    """Serves `handler` on a listening socket, over TLS when a context is given, from construction to
    `close`.
    """

    def __init__(
        self,
        listener: socket.socket,
        handler: type[BaseHTTPRequestHandler],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._server = _Server(listener, handler, tls)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="host-service", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut every connection."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.hang_up_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, listener: socket.socket, handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(listener.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self._tls = tls
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Runs in the connection's own thread, so a client slow to shake hands holds up nobody else."""
        connection = self._tls.wrap_socket(request, server_side=True) if self._tls else request
        with self._lock:
            self._open.add(connection)
        try:
            super().finish_request(connection, client_address)
        finally:
            with self._lock:
                self._open.discard(connection)
            if isinstance(connection, ssl.SSLSocket):
                _say_goodbye(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hung up or didn't trust us sees that for itself; anything else is a defect of ours.
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            _log.exception("A service in a host failed to answer %s", client_address)

    def hang_up_all(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            hang_up(connection)


def _say_goodbye(connection: ssl.SSLSocket) -> None:
    """End TLS properly: without this a client can't tell an answer's end from one cut short."""
    with connection, contextlib.suppress(OSError, ValueError):
        connection.settimeout(_GOODBYE_TIMEOUT)
        connection.unwrap()
