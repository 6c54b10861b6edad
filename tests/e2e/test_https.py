"""HTTPS on a booted host: with a self-signed certificate, with a given one, turned off, and refused configurations."""

import datetime
import http.client
import socket
import ssl
import time
import urllib.parse
from contextlib import closing
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rehearsal.hosts import standins
from rehearsal.hosts.booted import factory
from rehearsal.scenarios.login import log_in
from tests.e2e.own_host import run, scripts, set_up, try_

PASSWORD = "the host's own password"
OWN = "/etc/ssl/code-server.pem"
SITE = "/etc/nginx/sites-available/code-server"
CHAIN, KEY = "/etc/ssl/mine/chain.pem", "/etc/ssl/mine/key.pem"
CONFIGURE, VERIFY = "12-configure-nginx", "17-verify-installation"
GIVEN = {"TLS": "given", "TLS_CERTIFICATE": CHAIN, "TLS_KEY": KEY}
ELSEWHERE = {"TLS": "self-signed", "NGINX_PORT": "8000"}
"""Leaves port 80 free, for the metadata service."""
OUTSIDE = f"http://{standins.HOST_ADDRESS}"
"""Requests to this URL come from its address, not from loopback."""

METADATA = """
import http.server, socket, sys, time

ANSWERS = {"public-hostname": "ec2-203-0-113-9.example", "public-ipv4": "203.0.113.9"}

class Metadata(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        self.respond("a-token" if self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else "")
    def do_GET(self):
        known = self.headers["X-aws-ec2-metadata-token"] == "a-token"
        self.respond(ANSWERS.get(self.path.removeprefix("/latest/meta-data/"), "") if known else "")
    def respond(self, text):
        self.send_response(200 if text else 401)
        self.end_headers()
        self.wfile.write(text.encode())

if sys.argv[1] == "silent":
    with socket.create_server(("169.254.169.254", 80)):
        time.sleep(600)
http.server.HTTPServer(("169.254.169.254", 80), Metadata).serve_forever()
"""


@pytest.fixture(scope="module", params=["trixie"])
def host(request):
    """A host set up with a self-signed certificate. `test_hardening` uses the other release, whose nginx is older."""
    host = factory(request.param)("i-https", region="sa-east-1")
    try:
        host.boot()
        results = set_up(host, PASSWORD, TLS="self-signed", NGINX_LISTEN="everywhere")
        assert results["17-verify-installation"].startswith("all is well: log in at https, port 443")
        yield host
    finally:
        host.destroy()


@pytest.fixture
def own(host):
    """The host, reset to its self-signed certificate."""
    done = attempt(host, CONFIGURE, TLS="self-signed")
    assert done.exit_code == 0, done.stderr
    return host


def attempt(host, task, **values):
    """Run a task that may fail, with these variables, and with nginx open to other hosts."""
    return try_(host, scripts(NGINX_LISTEN="everywhere", **values)[task])


def configure(host, **values):
    """Configure nginx and verify the installation; returns the standard error of the first task."""
    done, verified = (attempt(host, task, **values) for task in (CONFIGURE, VERIFY))
    assert done.exit_code == 0, done.stderr
    assert verified.exit_code == 0, verified.stderr
    return done.stderr


def served_certificate(host):
    return run(
        host, "openssl s_client -connect 127.0.0.1:443 </dev/null 2>/dev/null | openssl x509 -fingerprint -noout"
    )


def names_of(host):
    shown = run(host, f"openssl x509 -in {OWN} -noout -ext subjectAltName | tail -n 1")
    return [name.strip() for name in shown.split(",")]


def encrypted(host, trusted, name):
    """Connect to the host under this name, as a client that only trusts the certificate `trusted`."""
    context = ssl.create_default_context(cadata=trusted)
    connection = http.client.HTTPSConnection(name)
    connection.sock = context.wrap_socket(
        socket.create_connection(("127.0.0.1", host.forward(443)), timeout=30), server_hostname=name
    )
    return closing(connection)


def test_login_over_https_sets_a_secure_cookie(own):
    certificate = run(own, f"openssl x509 -in {OWN}")
    with encrypted(own, certificate, "127.0.0.1") as connection:
        body = urllib.parse.urlencode({"password": PASSWORD, "base": ".", "href": "https://localhost/login"})
        connection.request("POST", "/login", body, {"Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        response.read()
        assert response.status == 302
        cookie = response.getheader("Set-Cookie")
        assert {"secure", "httponly"} <= set(cookie.lower().split("; "))
    with encrypted(own, certificate, "localhost") as connection:
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dG9yY2huZXVyb24tY29kZQ==",
            "Origin": "https://localhost",
            "Cookie": cookie.split(";")[0],
        }
        token = "00000000-0000-4000-8000-000000000000"
        connection.request("GET", f"/?type=Management&reconnectionToken={token}", headers=upgrade)
        assert connection.getresponse().status == 101


def test_http_requests_are_redirected_except_from_port_forwards(own):
    response = run(own, f"curl -so /dev/null -w '%{{http_code}} %{{redirect_url}}' '{OUTSIDE}/login?to=a%2Fb'")
    assert response == f"307 https://{standins.HOST_ADDRESS}/login?to=a%2Fb"
    for loopback in ("127.0.0.1", "localhost", "[::1]"):
        assert run(own, f"curl -gso /dev/null -w '%{{http_code}}' http://{loopback}/login") == "200"
    assert log_in(own.forward(80), PASSWORD).accepted


def test_valid_certificate_is_kept(own):
    look = f"stat -c '%U %G %a %i' {OWN}; sha256sum {OWN}"
    before = run(own, look)
    assert before.startswith("root root 600 ")
    served = served_certificate(own)
    output = configure(own, TLS="self-signed")
    assert run(own, look) == before
    assert served_certificate(own) == served
    fingerprint = run(own, f"openssl x509 -in {OWN} -noout -fingerprint -sha256").strip().partition("=")[2]
    assert f"(SHA-256 {fingerprint})" in output


SPOILED = {
    "no certificate": f"chmod 644 {OWN}; sed -i /CERTIFICATE/,/CERTIFICATE/d {OWN}",
    "another key": f"openssl genpkey -algorithm ed25519 >/run/one; cat {OWN} >>/run/one; mv /run/one {OWN}",
    "about to end": f"openssl req -x509 -newkey rsa:2048 -noenc -days 29 -subj /CN=a -keyout {OWN} -out {OWN}"
    " -addext subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:i-https 2>/dev/null",
    "renamed host": "hostname renamed",
}


@pytest.mark.parametrize("how", SPOILED)
def test_invalid_certificate_is_replaced(own, how):
    before = served_certificate(own)
    run(own, SPOILED[how])
    configure(own, TLS="self-signed")
    assert names_of(own) == ["DNS:localhost", "IP Address:127.0.0.1", f"DNS:{run(own, 'uname -n').strip()}"]
    assert served_certificate(own) != before
    run(own, "hostname i-https")


@pytest.fixture
def metadata(own):
    """Starts a metadata service on the host that responds, or never does."""
    own.write_file("/run/metadata.py", METADATA)

    def start(kind):
        run(own, f"systemd-run --quiet --unit metadata python3 /run/metadata.py {kind}")
        run(own, "until ss -Hltn | grep -q 169.254.169.254; do sleep 0.1; done")

    configure(own, **ELSEWHERE)
    run(own, f"rm {OWN}; ip address add 169.254.169.254/32 dev lo")
    yield start
    run(own, "systemctl stop metadata; ip address del 169.254.169.254/32 dev lo")


def test_certificate_has_the_public_names_of_the_instance(metadata, own):
    metadata("talking")
    configure(own, **ELSEWHERE)
    assert names_of(own) == [
        *("DNS:localhost", "IP Address:127.0.0.1", "DNS:i-https"),
        *("DNS:ec2-203-0-113-9.example", "IP Address:203.0.113.9"),
    ]


def test_unresponsive_metadata_service_delays_setup_only_briefly(metadata, own):
    metadata("silent")
    start = time.monotonic()
    configure(own, **ELSEWHERE)
    assert time.monotonic() - start < 60
    assert names_of(own) == ["DNS:localhost", "IP Address:127.0.0.1", "DNS:i-https"]


@dataclass(frozen=True)
class Pem:
    certificate: str
    key: str


def issue(*, issuer=None, ends_in_days=90, name="host.example", issues=False):
    """Create a certificate and its key, signed by `issuer` (a certificate and its key) or self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=ends_in_days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - datetime.timedelta(days=100))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=issues or not issuer, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key())
        builder = builder.add_extension(authority, critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def pem(certificate, key, *, passphrase=None):
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return Pem(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode(),
    )


def give(host, certificate, key):
    host.write_file(CHAIN, certificate, 0o644)
    host.write_file(KEY, key)


def test_given_certificate_is_served_with_its_chain(own):
    root = issue(name="A root")
    between = issue(name="An issuer", issuer=root, issues=True)
    leaf = pem(*issue(issuer=between))
    give(own, leaf.certificate + pem(*between).certificate, leaf.key)
    configure(own, **GIVEN)
    with encrypted(own, pem(*root).certificate, "host.example") as connection:
        connection.request("GET", "/login")
        assert connection.getresponse().status == 200
    # The self-signed certificate is removed; the given files stay.
    assert run(own, f"ls {OWN} {KEY} 2>/dev/null || true").split() == [KEY]


FINE, OVER = pem(*issue()), pem(*issue(ends_in_days=-1))
REFUSED = {
    "the key is another's": (FINE.certificate, pem(*issue()).key, f"{KEY} is not the key of the first certificate"),
    "no key": (FINE.certificate, None, f"{KEY} is not a file on this host"),
    "no certificate": (FINE.key, FINE.key, f"{CHAIN} does not begin with a certificate"),
    "a passphrase": (FINE.certificate, pem(*issue(), passphrase=b"secret").key, "opens without a passphrase"),
    "expired": (OVER.certificate, OVER.key, f"{CHAIN} has expired (notAfter="),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_invalid_given_certificate_is_refused_without_changes(own, wrong):
    certificate, key, message = REFUSED[wrong]
    give(own, certificate, key or "")
    if key is None:
        run(own, f"rm {KEY}")
    look = f"cat {SITE}; sha256sum {OWN}; systemctl show --property ExecMainStartTimestampMonotonic,NRestarts nginx"
    before, served = run(own, look), served_certificate(own)
    done = attempt(own, CONFIGURE, **GIVEN)
    assert done.exit_code != 0
    assert message in done.stderr
    assert "run the setup again; nginx is left as it was" in done.stderr
    assert (run(own, look), served_certificate(own)) == (before, served)
    assert attempt(own, VERIFY, TLS="self-signed").exit_code == 0


def test_turning_tls_off_removes_the_certificate(own):
    output = configure(own, TLS="off")
    assert output == "nginx serves port 80, for other hosts, too, and forwards to 127.0.0.1:8080\n"
    assert run(own, f"ls {OWN} 2>/dev/null || ss -Hltn 'sport = :443'") == ""
    assert run(own, f"curl -so /dev/null -w '%{{http_code}}' {OUTSIDE}/login") == "200"
    assert "ssl" not in run(own, f"cat {SITE}")


def test_port_of_another_program_is_refused_without_changes(own):
    configure(own, TLS="off")
    before = run(own, f"cat {SITE}")
    run(own, "systemd-run --quiet --unit other python3 -m http.server 443")
    run(own, "until ss -Hltn | grep -q :443; do sleep 0.1; done")
    done = attempt(own, CONFIGURE, TLS="self-signed")
    run(own, "systemctl stop other")
    assert done.exit_code != 0
    assert "another program listens on port 443" in done.stderr
    assert '"python3"' in done.stdout
    assert run(own, f"cat {SITE}") == before
    assert attempt(own, VERIFY, TLS="off").exit_code == 0


BROKEN = {
    "a key for all to read": (f"chmod 644 {OWN}", f"{OWN}, which holds a private key, is not root's alone"),
    "another certificate": (SPOILED["about to end"], f"nginx does not serve the certificate {OWN} on port 443"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_verification_checks_the_certificate(own, how):
    script, message = BROKEN[how]
    run(own, script)
    done = attempt(own, VERIFY, TLS="self-signed")
    assert done.exit_code != 0
    assert done.stderr == f"broken: {message}\n1 checks failed\n"
