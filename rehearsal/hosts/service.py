"""An HTTP server of this process that listens in a host's network, such as a stand-in or the registry proxy."""

import contextlib
import logging
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rehearsal.hosts.forward import hang_up

_CLOSE_TIMEOUT = 1.0
_log = logging.getLogger(__name__)


class Service:
    """Serves `handler` on a listening socket, over TLS when a context is given, until `close`."""

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
        """Stop listening and close every connection."""
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
        """Runs in the connection's own thread, so a slow TLS handshake delays no other client."""
        connection = self._tls.wrap_socket(request, server_side=True) if self._tls else request
        with self._lock:
            self._open.add(connection)
        try:
            super().finish_request(connection, client_address)
        finally:
            with self._lock:
                self._open.discard(connection)
            if isinstance(connection, ssl.SSLSocket):
                _close_tls(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # The client closed the connection or did not trust the certificate. Everything else is a defect of ours.
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            _log.exception("A service in a host failed to answer %s", client_address)

    def hang_up_all(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            hang_up(connection)


def _close_tls(connection: ssl.SSLSocket) -> None:
    """Send close_notify: without it a client cannot tell the end of a response from a lost connection."""
    with connection, contextlib.suppress(OSError, ValueError):
        connection.settimeout(_CLOSE_TIMEOUT)
        connection.unwrap()
