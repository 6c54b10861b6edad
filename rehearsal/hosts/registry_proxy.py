"""The HTTP proxy in a host through which apt reaches the package archives, and nothing reaches anything else.

It answers plain-HTTP GETs for absolute addresses, which is what apt sends; there is no CONNECT. Packages are
kept in the cache, as the file behind a package's address never changes; all else (indexes, which do) is asked
for anew.
"""

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

ADDRESS = "127.0.0.1"
PORT = 3128
APT_CONFIGURATION = f"""\
Acquire::http::Proxy "http://{ADDRESS}:{PORT}";
Acquire::http::Pipeline-Depth "0";
Acquire::https::Proxy "DIRECT";
"""

_TIMEOUT = 60
_CHUNK = 256 * 1024
_ASKED = ("User-Agent", "Accept", "Cache-Control", "If-Modified-Since", "If-Range", "Range")
_ANSWERED = ("Content-Type", "Content-Length", "Content-Range", "Last-Modified", "ETag", "Accept-Ranges")


def handler(packages: Path) -> type[BaseHTTPRequestHandler]:
    """A handler that keeps packages in that folder, which any number of proxies may share."""
    packages.mkdir(parents=True, exist_ok=True)

    class Handler(_RegistryProxy):
        folder = packages

    return Handler


class _RegistryProxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.scheme != "http" or not address.hostname:
            self.send_error(HTTPStatus.BAD_REQUEST, "This proxy serves http:// addresses only")
        elif address.path.endswith(".deb") and "Range" not in self.headers:
            self._send_package(self.folder / _file_name(address.netloc, address.path))
        else:
            self._pass_on(keep_as=None)

    def log_message(self, format: str, *arguments: object) -> None:
        """apt reports what it fetched."""

    def _send_package(self, kept: Path) -> None:
        try:
            file = kept.open("rb")
        except FileNotFoundError:
            self._pass_on(keep_as=kept)
            return
        with file:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.end_headers()
            shutil.copyfileobj(file, self.wfile, _CHUNK)

    def _pass_on(self, keep_as: Path | None) -> None:
        headers = {name: value for name in _ASKED if (value := self.headers.get(name))}
        request = urllib.request.Request(self.path, headers=headers)
        try:
            response = urllib.request.urlopen(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as answer:  # 304 and 404 are answers like any other
            response = answer
        except OSError as error:
            self.send_error(HTTPStatus.BAD_GATEWAY, f"Not reachable from this machine: {error}")
            return
        with response:
            self._answer(response, keep_as if response.status == HTTPStatus.OK else None)

    def _answer(self, response: HTTPResponse | urllib.error.HTTPError, keep_as: Path | None) -> None:
        self.send_response(response.status or HTTPStatus.BAD_GATEWAY)
        for name in _ANSWERED:
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
        """The file has no name until it is whole: nothing half-fetched is ever found, or left by a kill.

        It gets its name before its last piece is sent, so whoever has been sent all of it finds it kept.
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
                self.close_connection = True  # so that apt sees that its package was cut short


def _file_name(host: str, path: str) -> str:
    digest = hashlib.sha256(f"{host}{path}".encode()).hexdigest()[:16]
    return f"{digest}-{path.rpartition('/')[2]}"


def _give_name(file: IO[bytes], path: Path) -> None:
    folder = os.open(path.parent, os.O_PATH)
    try:
        # Only with a folder given does os.link follow the link in /proc to the nameless file.
        os.link(f"/proc/self/fd/{file.fileno()}", path.name, dst_dir_fd=folder)
    except FileExistsError:
        return  # another host fetched the same package meanwhile
    finally:
        os.close(folder)
