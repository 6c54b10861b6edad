"""What this process serves to a host: the package proxy, the stand-in sites, port forwards."""

import http.client
import io
import json
import socket
import ssl
import threading
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from rehearsal.hosts import certificates, open_vsx, registry_proxy, standins
from rehearsal.hosts.aws_sites import SiteAnswer
from rehearsal.hosts.forward import Forward
from rehearsal.hosts.service import Service

UNUSED = "127.0.0.1:9"
# Spellings of addresses of this machine or its link.
NAMES = (
    *("127.0.0.1", "127.8.9.10", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0", "0"),
    *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "169.254.169.254", "[fe80::1]", "[::]", "2852039166"),
)
PACKAGE = b"!<arch>\n" + bytes(range(256)) * 4000


class Archive(BaseHTTPRequestHandler):
    """A package archive that records its requests."""

    protocol_version = "HTTP/1.1"
    requests: list[str]

    def do_GET(self):
        self.requests.append(self.path)
        if self.headers.get("If-Modified-Since"):
            self.send_response(304)
            self.end_headers()
        elif self.path.startswith("/pool/redirected/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/pool/redirected/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/pool/short.deb":
            self.send_response(200)
            self.send_header("Content-Length", str(len(PACKAGE) + 1))
            self.end_headers()
            self.wfile.write(PACKAGE)
            self.close_connection = True
        elif self.path.endswith((".deb", "InRelease")):
            self.send_response(200)
            self.send_header("Content-Length", str(len(PACKAGE)))
            self.send_header("Last-Modified", "Sat, 01 Jun 2025 00:00:00 GMT")
            self.end_headers()
            self.wfile.write(PACKAGE)
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def archive():
    listener = listening()
    requests: list[Any] = []
    with closing(Service(listener, type("Counting", (Archive,), {"requests": requests}))):
        yield f"127.0.0.1:{listener.getsockname()[1]}", requests


@pytest.fixture
def proxy(tmp_path, archive):
    """A proxy that may connect to loopback, where the test archive is."""
    listener = listening()
    archives = [f"http://{archive[0]}", f"http://{UNUSED}"]
    handler = registry_proxy.handler(tmp_path / "packages", archives, socket.create_connection)
    with closing(Service(listener, handler)):
        yield listener.getsockname()[1]


@pytest.fixture
def guarded(tmp_path, archive):
    """A proxy as hosts have it, for an archive on this machine under each of `NAMES`."""
    listener = listening()
    archives = [f"http://{name}:{archive[0].rpartition(':')[2]}" for name in NAMES]
    with closing(Service(listener, registry_proxy.handler(tmp_path / "packages", archives))):
        yield listener.getsockname()[1]


def listening():
    return socket.create_server(("127.0.0.1", 0))


def get(proxy, address, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", proxy, timeout=60)
    with closing(connection):
        connection.request("GET", address, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


class TestRegistryProxy:
    def test_package_is_requested_once(self, proxy, archive):
        site, requests = archive
        for _ in range(3):
            status, _, body = get(proxy, f"http://{site}/pool/one.deb")
            assert (status, body) == (200, PACKAGE)
        assert requests == ["/pool/one.deb"]

    def test_index_is_requested_every_time(self, proxy, archive):
        site, requests = archive
        for _ in range(2):
            assert get(proxy, f"http://{site}/dists/trixie/InRelease")[0] == 200
        assert len(requests) == 2

    def test_not_modified_and_not_found_are_passed_on(self, proxy, archive):
        site, _ = archive
        since = {"If-Modified-Since": "Sat, 01 Jun 2025 00:00:00 GMT"}
        assert get(proxy, f"http://{site}/dists/trixie/InRelease", **since)[0] == 304
        assert get(proxy, f"http://{site}/dists/none/Packages")[0] == 404

    def test_incomplete_package_is_not_cached(self, proxy, archive, tmp_path):
        site, _ = archive
        with pytest.raises(http.client.IncompleteRead):
            get(proxy, f"http://{site}/pool/short.deb")
        assert list((tmp_path / "packages").iterdir()) == []

    def test_concurrent_requests_are_served(self, proxy, archive, tmp_path):
        site, _ = archive
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda n: get(proxy, f"http://{site}/pool/{n % 4}.deb"), range(32)))
        assert all((status, body) == (200, PACKAGE) for status, _, body in answers)
        assert len(list((tmp_path / "packages").iterdir())) == 4

    def test_only_plain_http_is_served(self, proxy):
        assert get(proxy, "https://example.com/")[0] == 400
        assert get(proxy, "/etc/passwd")[0] == 400
        with socket.create_connection(("127.0.0.1", proxy)) as connection:
            connection.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n")
            assert b" 501 " in connection.recv(100)

    def test_unreachable_archive_is_a_bad_gateway(self, proxy):
        assert get(proxy, f"http://{UNUSED}/pool/one.deb")[0] == 502

    @pytest.mark.attack("A task asks the package proxy for a service on this machine, by any spelling of its address")
    @pytest.mark.parametrize("name", NAMES)
    def test_addresses_of_this_machine_or_its_link_are_refused(self, guarded, archive, name):
        site, requests = archive
        status, _, body = get(guarded, f"http://{name}:{site.rpartition(':')[2]}/pool/one.deb")
        assert (status, requests) == (502, []), body

    @pytest.mark.attack("A task asks the package proxy for a site that is no package archive, or leaves the archive")
    @pytest.mark.parametrize("path", ["http://{0}.example.com/pool/", "http://{0}@example.com/", "http://u@{0}/pool/"])
    def test_only_package_archives_are_served(self, proxy, archive, path):
        assert get(proxy, path.format(archive[0]) + "one.deb")[0] == 403
        assert archive[1] == []

    @pytest.mark.attack("A task climbs out of an archive's folder")
    @pytest.mark.parametrize("path", ["/../private", "/pool/%2e%2e/%2e%2e/private", "/./../private", "/..%2fprivate"])
    def test_paths_outside_the_archive_are_refused(self, proxy, archive, path):
        assert get(proxy, f"http://{archive[0]}{path}")[0] == 403
        assert archive[1] == []

    @pytest.mark.attack("An archive redirects the package proxy to a service on this machine")
    def test_redirect_out_of_the_archives_is_refused(self, proxy, archive):
        with closing(listening()) as listener, closing(Service(listener, type("Other", (Archive,), {"requests": []}))):
            other = f"http://127.0.0.1:{listener.getsockname()[1]}/pool/one.deb"
            assert get(proxy, f"http://{archive[0]}/pool/redirected/{other}")[0] == 502
        inside = f"http://{archive[0]}/pool/two.deb"
        assert get(proxy, f"http://{archive[0]}/pool/redirected/{inside}")[2] == PACKAGE


@pytest.fixture(scope="module")
def authority():
    return certificates.create(standins.NAMES)


@pytest.fixture
def site(authority, tmp_path):
    """Sends a request to a stand-in, as a client that trusts the authority and resolves all names to it."""
    package = tmp_path / "built.deb"
    package.write_bytes(PACKAGE)
    (tmp_path / "InRelease").write_text("signed")
    release = standins.Release("4.139.1", "code-server_4.139.1_amd64.deb", package)
    listener = listening()
    handler = standins.handler(release, standins.NeuronRepository("trixie", tmp_path), lambda request: SiteAnswer(404))
    trusting = ssl.create_default_context(cadata=authority.certificate)

    def ask(name, path, method="GET", body=None):
        raw = socket.create_connection(listener.getsockname())
        connection = http.client.HTTPSConnection(name)
        with closing(connection):
            connection.sock = trusting.wrap_socket(raw, server_hostname=name)
            connection.request(method, path, body=body)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    with closing(Service(listener, handler, authority.server)):
        yield ask


class TestStandIns:
    def test_github_redirects_a_release_to_its_asset(self, site):
        path = "/coder/code-server/releases/download/v4.139.1/code-server_4.139.1_amd64.deb"
        status, headers, _ = site("github.com", path)
        location = headers["Location"]
        assert (status, location.split("/")[2]) == (302, "release-assets.githubusercontent.com")
        status, _, body = site("release-assets.githubusercontent.com", "/" + location.split("/", 3)[3])
        assert (status, body) == (200, PACKAGE)

    @pytest.mark.parametrize(
        ("name", "path"),
        [
            ("github.com", "/coder/code-server/releases/download/v4.0.0/code-server_4.0.0_amd64.deb"),
            ("github.com", "/"),
            ("release-assets.githubusercontent.com", "/other.deb"),
            ("apt.repos.neuron.amazonaws.com", "/dists/jammy/InRelease"),
            ("open-vsx.org", "/vscode/gallery/nobody/nothing/latest"),
        ],
    )
    def test_everything_else_is_not_found(self, site, name, path):
        assert site(name, path)[0] == 404

    def test_head_response_has_the_length_and_no_body(self, site):
        _, headers, body = site("release-assets.githubusercontent.com", "/code-server_4.139.1_amd64.deb", "HEAD")
        assert (int(headers["Content-Length"]), body) == (len(PACKAGE), b"")

    def test_neuron_repository_has_the_release_of_the_host(self, site):
        status, _, body = site("apt.repos.neuron.amazonaws.com", "/dists/trixie/InRelease")
        assert (status, body) == (200, b"signed")

    @pytest.mark.parametrize("extension", open_vsx.EXTENSIONS, ids=lambda extension: extension.identifier)
    def test_extension_is_found_by_name_and_is_a_vsix(self, site, extension):
        query = {"filters": [{"criteria": [{"filterType": 7, "value": extension.identifier}]}]}
        _, _, answer = site("open-vsx.org", "/vscode/gallery/extensionquery", "POST", json.dumps(query))
        (found,) = json.loads(answer)["results"][0]["extensions"]
        assert found["extensionName"] == extension.name
        (package,) = [file for file in found["versions"][0]["files"] if file["assetType"].endswith("VSIXPackage")]
        path = package["source"].removeprefix("https://open-vsx.org")
        _, _, vsix = site("open-vsx.org", f"{path}?redirect=true&update=false")
        with zipfile.ZipFile(io.BytesIO(vsix)) as archive:
            manifest = json.loads(archive.read("extension/package.json"))
        assert f"{manifest['publisher']}.{manifest['name']}" == extension.identifier

    def test_client_that_does_not_trust_the_authority_fails(self, site, authority):
        with closing(listening()) as listener, closing(Service(listener, Archive, authority.server)):
            port = listener.getsockname()[1]
            with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
                urllib.request.urlopen(f"https://localhost:{port}/", timeout=60)


class TestForward:
    def test_both_directions_are_forwarded_until_both_end(self):
        with closing(listening()) as target:
            address = target.getsockname()
            threading.Thread(target=answer_reversed, args=(target,), daemon=True).start()
            forward = Forward(lambda: socket.create_connection(address))
            with closing(forward), socket.create_connection(("127.0.0.1", forward.port)) as client:
                client.sendall(b"abc" * 100_000)
                client.shutdown(socket.SHUT_WR)
                assert received(client) == b"cba" * 100_000

    def test_connection_is_closed_when_nothing_listens(self):
        with closing(listening()) as unused:
            address = unused.getsockname()
        forward = Forward(lambda: socket.create_connection(address))
        with closing(forward), socket.create_connection(("127.0.0.1", forward.port)) as client:
            assert received(client) == b""

    def test_close_ends_connections_and_frees_the_port(self):
        with closing(listening()) as target:
            address = target.getsockname()
            forward = Forward(lambda: socket.create_connection(address))
            with socket.create_connection(("127.0.0.1", forward.port)) as client:
                far_end, _ = target.accept()
                forward.close()
                assert received(client) == b""
                far_end.close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", forward.port))

    def test_forward_listens_on_loopback_only(self):
        with closing(Forward(socket.socket)) as forward:
            listeners = Path("/proc/net/tcp").read_text().split()
            assert f"0100007F:{forward.port:04X}" in listeners
            assert f"00000000:{forward.port:04X}" not in listeners


def answer_reversed(listener):
    connection, _ = listener.accept()
    with connection:
        connection.sendall(received(connection)[::-1])


def received(connection):
    connection.settimeout(10)
    parts = []
    try:
        while data := connection.recv(65536):
            parts.append(data)
    except ConnectionResetError:
        pass
    return b"".join(parts)
