"""Stand-ins for the sites that the setup steps use and that may not be reachable.

They serve TLS under the sites' names, so the steps' text is what runs on AWS. GitHub redirects a release's URL to a
second site, as the real one does; Open VSX has three extensions; Neuron's package repository has the host's Debian
release and no packages. Requests to AWS go to the simulated AWS. Everything else is 404.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from rehearsal.hosts import aws_sites, open_vsx

# From the range for benchmarks (RFC 2544), which no site uses.
ADDRESS = "198.18.0.1"
HOST_ADDRESS = "198.18.0.2"
PREFIX_LENGTH = 30
PORT = 443
GITHUB = "github.com"
RELEASE_ASSETS = "release-assets.githubusercontent.com"
NEURON = "apt.repos.neuron.amazonaws.com"
NAMES = (GITHUB, RELEASE_ASSETS, NEURON, open_vsx.SITE)

_RELEASE = re.compile(r"/coder/code-server/releases/download/v(?P<version>[^/]+)/(?P<file>[^/]+)")
_AWS_DOMAIN = ".amazonaws.com"
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Release:
    """The code-server release that GitHub's stand-in serves."""

    version: str
    file_name: str
    file: Path


@dataclass(frozen=True)
class NeuronRepository:
    """Neuron's package repository: its only release, and the folder with the index files."""

    codename: str
    folder: Path


def handler(release: Release, repository: NeuronRepository, sites: aws_sites.Sites) -> type[BaseHTTPRequestHandler]:
    """A request handler for all of `NAMES`. `sites` answers for AWS."""

    class Handler(_StandIn):
        aws = staticmethod(sites)
        offered = release
        neuron = repository

    return Handler


class _StandIn(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    aws: aws_sites.Sites
    offered: Release
    neuron: NeuronRepository

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        site = self._site()
        if site.endswith(_AWS_DOMAIN) and site != NEURON:
            aws_sites.relay(self, self.aws)
        elif site == GITHUB:
            self._answer_github(path)
        elif site == RELEASE_ASSETS and path == f"/{self.offered.file_name}":
            self._send_file(self.offered.file)
        elif site == NEURON:
            self._answer_neuron(path)
        elif site == open_vsx.SITE:
            self._answer_gallery(path)
        else:
            self._refuse()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        site = self._site()
        if site.endswith(_AWS_DOMAIN) and site != NEURON:
            aws_sites.relay(self, self.aws)
            return
        request = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if site == open_vsx.SITE and urlsplit(self.path).path == "/vscode/gallery/extensionquery":
            self._send("application/json", json.dumps(open_vsx.query(request)).encode())
        else:
            self._refuse()

    def log_message(self, format: str, *arguments: object) -> None:
        """Clients report errors themselves."""

    def _site(self) -> str:
        return self.headers.get("Host", "").partition(":")[0]

    def _answer_github(self, path: str) -> None:
        requested = _RELEASE.fullmatch(path)
        if not requested or (requested["version"], requested["file"]) != (self.offered.version, self.offered.file_name):
            self._refuse()
            return
        self.send_response(HTTPStatus.FOUND)
        location = f"https://{RELEASE_ASSETS}/{self.offered.file_name}?response-content-type=deb"
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer_neuron(self, path: str) -> None:
        dist, name = f"/dists/{self.neuron.codename}/", path.rpartition("/")[2]
        if path.startswith(dist) and name in ("InRelease", "Packages"):
            self._send_file(self.neuron.folder / name)
        else:
            self._refuse()

    def _answer_gallery(self, path: str) -> None:
        if listing := open_vsx.latest(path):
            self._send("application/json", json.dumps(listing).encode())
        elif asset := open_vsx.asset(path):
            self._send(*asset)
        else:
            self._refuse()

    def _refuse(self) -> None:
        """404 on a connection that stays open: apt takes a closed one for a broken site, not a missing file."""
        self.send_response(HTTPStatus.NOT_FOUND)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content_type: str, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_file(self, path: Path) -> None:
        with path.open("rb") as file:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.end_headers()
            if self.command != "HEAD":
                shutil.copyfileobj(file, self.wfile, _CHUNK)
