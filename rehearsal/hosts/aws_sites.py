"""The AWS endpoints that a host reaches: instance metadata, and the services that its role's credentials are for.

The simulated AWS answers the requests. A host without one gets 404.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

METADATA = "169.254.169.254"
"""EC2 user guide, "Access instance metadata for an EC2 instance"."""
METADATA_PORT = 80
_SERVICES = ("secretsmanager", "ssm")
_OWN_HEADERS = {"connection", "date", "server", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class SiteRequest:
    """A host's request. Names of `headers` are lower case."""

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
    """A request handler that passes every request to `sites`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            relay(self, sites)

        do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 # names that the base class looks up

        def log_message(self, format: str, *arguments: object) -> None:
            """Clients report errors themselves."""

    return Handler


def relay(connection: BaseHTTPRequestHandler, sites: Sites) -> None:
    """Answer the request that a handler has read with the response of `sites`."""
    headers = {name.lower(): value for name, value in connection.headers.items()}
    body = connection.rfile.read(int(headers.get("content-length", 0)))
    site = headers.get("host", "").partition(":")[0]
    answer = sites(SiteRequest(site, connection.command, connection.path, headers, body))
    connection.send_response(answer.status)
    for name, value in answer.headers.items():
        if name.lower() not in _OWN_HEADERS:
            connection.send_header(name, value)
    connection.send_header("Content-Length", str(len(answer.body)))
    connection.end_headers()
    if connection.command != "HEAD":
        connection.wfile.write(answer.body)
