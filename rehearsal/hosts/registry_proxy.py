"""The HTTP proxy through which apt in a host reaches the package archives, and nothing else.

It answers GET requests for absolute http:// URLs, which apt sends; there is no CONNECT. Packages are cached, as the
file behind a package's URL never changes. Indexes do change and are requested every time.

The proxy runs in this machine's network. So it serves only URLs below the host's package archives, follows redirects
only to those, and never connects to an address of this machine or its link, whatever a name resolves to.
"""

import hashlib
import http.client
import ipaddress
import os
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from http import HTTPStatus
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

ADDRESS = "127.0.0.1"
PORT = 3128
APT_CONFIGURATION = f"""\
Acquire::http::Proxy "http://{ADDRESS}:{PORT}";
Acquire::http::Pipeline-Depth "0";
Acquire::https::Proxy "DIRECT";
"""

_TIMEOUT = 60
_CHUNK = 256 * 1024
_REQUEST_HEADERS = ("User-Agent", "Accept", "Cache-Control", "If-Modified-Since", "If-Range", "Range")
_RESPONSE_HEADERS = ("Content-Type", "Content-Length", "Content-Range", "Last-Modified", "ETag", "Accept-Ranges")


Connect = Callable[..., socket.socket]
"""As `socket.create_connection`."""


def connect_outside(address: tuple[str, int], *arguments: Any) -> socket.socket:
    """`socket.create_connection`, but never to this machine or its link. Raises OSError."""
    found = [entry[4][0] for entry in socket.getaddrinfo(*address, type=socket.SOCK_STREAM)]
    if forbidden := [ip for ip in found if not _is_outside(str(ip))]:
        raise PermissionError(f"{address[0]} is {forbidden[0]}, an address of this machine or its link")
    # Connect to the checked address: the name may resolve to another one the next time.
    return socket.create_connection((str(found[0]), address[1]), *arguments)


def handler(
    packages: Path, archives: Collection[str], connect: Connect = connect_outside
) -> type[BaseHTTPRequestHandler]:
    """A request handler.

    `packages`: the folder for cached packages, which proxies may share. `archives`: the URLs below which it serves,
    such as "http://archive.example/debian".
    """
    packages.mkdir(parents=True, exist_ok=True)
    roots = tuple(f"{archive.rstrip('/')}/" for archive in archives)

    class Handler(_RegistryProxy):
        folder = packages
        fetch = urllib.request.build_opener(_Redirects(roots), _Archives(connect)).open

        def is_served(self, address: str) -> bool:
            return _is_below(address, roots)

    return Handler


def _is_outside(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return not (ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast)


def _is_below(address: str, roots: tuple[str, ...]) -> bool:
    parts = unquote(urlsplit(address).path).replace("\\", "/").split("/")
    return address.startswith(roots) and ".." not in parts and "." not in parts


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, roots: tuple[str, ...]) -> None:
        self._roots = roots

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not _is_below(newurl, self._roots):
            raise PermissionError(f"redirected to {newurl}, which is not a package archive")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Archives(urllib.request.HTTPHandler):
    """Connects with `connect`, except to the proxy in this machine's own environment."""

    def __init__(self, connect: Connect) -> None:
        super().__init__()
        self._connect = connect

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        connect = socket.create_connection if req.has_proxy() else self._connect

        class Connection(http.client.HTTPConnection):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self._create_connection = connect

        return self.do_open(Connection, req)


class _RegistryProxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    fetch: Callable[..., Any]

    def is_served(self, address: str) -> bool:
        raise NotImplementedError

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.scheme != "http" or not address.hostname:
            self.send_error(HTTPStatus.BAD_REQUEST, "This proxy serves http:// addresses only")
        elif not self.is_served(self.path):
            self.send_error(HTTPStatus.FORBIDDEN, "This proxy serves package archives only")
        elif address.path.endswith(".deb") and "Range" not in self.headers:
            self._send_package(self.folder / _file_name(address.netloc, address.path))
        else:
            self._forward(keep_as=None)

    def log_message(self, format: str, *arguments: object) -> None:
        """apt reports what it downloads."""

    def _send_package(self, kept: Path) -> None:
        try:
            file = kept.open("rb")
        except FileNotFoundError:
            self._forward(keep_as=kept)
            return
        with file:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.end_headers()
            shutil.copyfileobj(file, self.wfile, _CHUNK)

    def _forward(self, keep_as: Path | None) -> None:
        headers = {name: value for name in _REQUEST_HEADERS if (value := self.headers.get(name))}
        request = urllib.request.Request(self.path, headers=headers)
        try:
            response = self.fetch(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error_response:  # 304 and 404 are responses, too
            response = error_response
        except OSError as error:
            self.send_error(HTTPStatus.BAD_GATEWAY, f"Not reachable from this machine: {error}")
            return
        with response:
            self._answer(response, keep_as if response.status == HTTPStatus.OK else None)

    def _answer(self, response: HTTPResponse | urllib.error.HTTPError, keep_as: Path | None) -> None:
        self.send_response(response.status or HTTPStatus.BAD_GATEWAY)
        for name in _RESPONSE_HEADERS:
            if value := response.headers.get(name):
                self.send_header(name, value)
        length = response.headers.get("Content-Length")
        bodiless = response.status == HTTPStatus.NOT_MODIFIED
        if length is None and not bodiless:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if bodiless:
            return
        if keep_as is None or length is None:
            shutil.copyfileobj(response, self.wfile, _CHUNK)
        else:
            self._copy_and_keep(response, int(length), keep_as)

    def _copy_and_keep(self, response: IO[bytes] | HTTPResponse, length: int, keep_as: Path) -> None:
        """The file gets its name when complete, so a killed proxy leaves no partial file.

        It gets the name before the last chunk is sent: a client that has received all of it finds it cached.
        """
        descriptor = os.open(self.folder, os.O_TMPFILE | os.O_RDWR, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                if file.tell() == length:
                    file.flush()
                    _give_name(file, keep_as)
                self.wfile.write(chunk)
            if file.tell() != length:
                self.close_connection = True  # so that apt sees that the package is incomplete


def _file_name(host: str, path: str) -> str:
    digest = hashlib.sha256(f"{host}{path}".encode()).hexdigest()[:16]
    return f"{digest}-{path.rpartition('/')[2]}"


def _give_name(file: IO[bytes], path: Path) -> None:
    folder = os.open(path.parent, os.O_PATH)
    try:
        # os.link follows the link in /proc to the unnamed file only when a folder is given.
        os.link(f"/proc/self/fd/{file.fileno()}", path.name, dst_dir_fd=folder)
    except FileExistsError:
        return  # another host has downloaded the same package meanwhile
    finally:
        os.close(folder)
