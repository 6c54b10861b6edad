"""The sites of AWS that a host reaches: instance metadata, and the endpoints that its role's credentials are for.

What they answer is not decided here: each request goes to whoever plays AWS. A host without one reaches none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

METADATA = "169.254.169.254"
"""EC2 user guide, "Access instance metadata for an EC2 instance"."""
METADATA_PORT = 80
_SERVICES = ("secretsmanager", "ssm")
_NOT_HANDED_ON = {"connection", "date", "server", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class SiteRequest:
    """A request as it came. Names of `headers` are in lower case."""

    site: str
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class SiteAnswer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Sites = Callable[[SiteRequest], SiteAnswer]


def endpoints(region: str) -> tuple[str, ...]:
    """The names of the AWS endpoints that hosts in a region reach."""
    return tuple(f"{service}.{region}.amazonaws.com" for service in _SERVICES)


def handler(sites: Sites) -> type[BaseHTTPRequestHandler]:
    """Hands every request on to `sites`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            relay(self, sites)

        def do_HEAD(self) -> None:
            relay(self, sites)

        def do_POST(self) -> None:
            relay(self, sites)

        def do_PUT(self) -> None:
            relay(self, sites)

        def log_message(self, format: str, *arguments: object) -> None:
            """Clients report what they asked for."""

    return Handler


def relay(connection: BaseHTTPRequestHandler, sites: Sites) -> None:
    """Answer the request that a handler has just read with what `sites` says."""
    headers = {name.lower(): value for name, value in connection.headers.items()}
    body = connection.rfile.read(int(headers.get("content-length", 0)))
    site = headers.get("host", "").partition(":")[0]
    answer = sites(SiteRequest(site, connection.command, connection.path, headers, body))
    connection.send_response(answer.status)
    for name, value in answer.headers.items():
        if name.lower() not in _NOT_HANDED_ON:
            connection.send_header(name, value)
    connection.send_header("Content-Length", str(len(answer.body)))
    connection.end_headers()
    if connection.command != "HEAD":
        connection.wfile.write(answer.body)
