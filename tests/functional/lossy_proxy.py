"""A proxy in front of the rehearsal that loses the answer to one operation, as a bad network does."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Loss = Literal["before", "after", "server-error", ""]


class LossyProxy:
    """Passes EC2 requests on to `target` and counts them by operation.

    `loss` says what becomes of a PurchaseCapacityBlock: dropped `before` it reaches AWS, answer dropped
    `after` it took effect, or a `server-error` in place of that answer.
    """

    def __init__(self, target: str) -> None:
        self.loss: Loss = ""
        self.seen: list[str] = []
        self.target = urlsplit(target)
        self.endpoint = ""

    def forward(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        operation = parse_qs(body.decode()).get("Action", [""])[0]
        self.seen.append(operation)
        loss = self.loss if operation == "PurchaseCapacityBlock" else ""
        if loss == "before":
            handler.close_connection = True
            return
        connection = http.client.HTTPConnection(self.target.netloc, timeout=30)
        connection.request("POST", handler.path, body, dict(handler.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if loss == "after":
            handler.close_connection = True
            return
        handler.send_response(503 if loss == "server-error" else answer.status)
        content = b"upstream is gone" if loss == "server-error" else content
        handler.send_header("Content-Type", answer.getheader("Content-Type", "text/xml"))
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


@contextmanager
def lossy_proxy(target: str) -> Iterator[LossyProxy]:
    """A proxy on a free loopback port, until the end of the block."""
    proxy = LossyProxy(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            proxy.forward(self)

        def log_message(self, *_: object) -> None:
            """Quiet: tests read standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
