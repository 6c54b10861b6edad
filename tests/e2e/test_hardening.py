"""Attacks on a machine after the setup: from other addresses, in the browser, with links in the home folder."""

import http.client
import json
import re
import shlex
import time
import urllib.parse

import pytest

from rehearsal.hosts import standins
from rehearsal.hosts.booted import factory
from rehearsal.scenarios.login import log_in, upgrade_to_websocket
from tests.e2e.own_host import run, scripts, set_up, try_

PASSWORD = "the host's own password"
INSTALL, CONFIGURE, VERIFY = "09-install-code-server", "12-configure-nginx", "17-verify-installation"
PROFILE, VS_CODE, EXTENSIONS = "08-configure-profile", "11-configure-vscode-settings", "15-install-vscode-extensions"
CODE_SERVER, CONFIG = "10-configure-code-server", "/work/.config/code-server/config.yaml"
OUTSIDE = f"http://{standins.HOST_ADDRESS}"
"""Requests to this URL come from its address, not from loopback."""
DATA = "/work/.local/share/code-server"
FOREIGN = "https://attacker.example"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dG9yY2huZXVyb24tY29kZQ==",
}
MANAGEMENT = "/?type=Management&reconnectionToken=00000000-0000-4000-8000-000000000000&skipWebSocketFrames=false"


@pytest.fixture(scope="module")
def host():
    """A machine whose nginx listens on loopback, the default. Bookworm has the older nginx."""
    host = factory("bookworm")("i-hardened", region="sa-east-1")
    try:
        host.boot()
        results = set_up(host, PASSWORD)
        assert results[VERIFY].startswith("all is well: log in at port 80")
        yield host
    finally:
        host.destroy()


@pytest.fixture
def opened(host):
    """The host with nginx open to other hosts, and with reset login limits."""
    configure(host, "everywhere")
    run(host, "systemctl restart nginx code-server@coder")
    run(host, "until curl -fso /dev/null http://127.0.0.1/healthz; do sleep 0.1; done")
    yield host
    configure(host, "loopback")


def attempt(host, task, **values):
    return try_(host, scripts(**values)[task])


def configure(host, listen):
    for task in (CONFIGURE, VERIFY):
        done = attempt(host, task, NGINX_LISTEN=listen)
        assert done.exit_code == 0, done.stderr


def outside(host, path="/login"):
    """The status of an HTTP request from an address other than loopback; 000 when the connection fails."""
    return run(host, f"curl -so /dev/null -w '%{{http_code}}' {OUTSIDE}{path} || true")


def guesses(host, count, *, sources=("",), paths=("/login",), password="a wrong guess", to=OUTSIDE):
    """The statuses of logins from outside, cycling through the source addresses and paths."""
    lines = []
    for number in range(count):
        source = sources[number % len(sources)]
        given = urllib.parse.urlencode({"password": password})
        words = ["curl", "-gso", "/dev/null", "-w", "%{http_code}\\n", "--path-as-is", "-d", given]
        words += ["--interface", source] if source else []
        lines.append(shlex.join([*words, to + paths[number % len(paths)]]))
    return run(host, "\n".join(lines)).split()


def owner_logs_in(host):
    return log_in(host.forward(80), PASSWORD)


@pytest.mark.attack("sends a request to the nginx of a closed machine from another address")
def test_closed_machine_accepts_only_loopback_connections(host):
    assert outside(host) == "000"
    assert run(host, "curl -gso /dev/null -w '%{http_code}' http://[::1]/login") == "200"
    assert owner_logs_in(host).accepted
    assert attempt(host, VERIFY, NGINX_LISTEN="everywhere").stderr.startswith(
        "broken: nginx does not listen for other hosts on port 80\n"
    )


def test_opened_machine_accepts_other_hosts_until_it_is_closed(opened):
    assert outside(opened) == "200"
    assert attempt(opened, VERIFY).stderr.startswith("broken: nginx does not listen for this host only on port 80\n")
    configure(opened, "loopback")
    assert outside(opened) == "000"
    assert owner_logs_in(opened).accepted


@pytest.mark.attack("reads the session cookie with a script in the page")
def test_session_cookie_is_not_readable_by_scripts(host):
    body = urllib.parse.urlencode({"password": PASSWORD})
    connection = http.client.HTTPConnection("127.0.0.1", host.forward(80), timeout=30)
    connection.request("POST", "/login", body, {"Content-Type": "application/x-www-form-urlencoded"})
    cookie = connection.getresponse().getheader("Set-Cookie")
    connection.close()
    assert cookie.startswith("code-server-session=")
    assert "httponly" in cookie.lower().split("; ")


@pytest.mark.attack("opens the editor's websocket from another site's page, with a header that names that site")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Forwarded-Host": "attacker.example"},
        {"Forwarded": "host=attacker.example"},
        {"X-Original-Host": "attacker.example"},
        {"X-Forwarded-Host": "attacker.example", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"},
    ],
    ids=lambda headers: "+".join(headers) or "none",
)
def test_websocket_from_a_foreign_origin_is_refused(host, headers):
    port, login = host.forward(80), owner_logs_in(host)
    assert upgrade_to_websocket(port, login.session) == 101
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", MANAGEMENT, headers={**UPGRADE, **headers, "Origin": FOREIGN, "Cookie": login.session})
    assert connection.getresponse().status == 403
    connection.close()


@pytest.mark.attack("sends a server behind the editor forged headers about the origin of a request")
def test_forged_forwarding_headers_are_removed(host):
    run(
        host,
        "cat >/run/echo.py <<'END'\n"
        "import http.server\n"
        "class Echo(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(str(self.headers).encode())\n"
        'http.server.HTTPServer(("127.0.0.1", 9000), Echo).serve_forever()\n'
        "END\n"
        "systemd-run --quiet --unit echo python3 /run/echo.py; until ss -Hltn | grep -q :9000; do sleep 0.1; done",
    )
    claimed = ["X-Forwarded-For", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Prefix", "Forwarded", "X-Original-URL"]
    session = owner_logs_in(host).session
    seen = run(
        host,
        f"curl -s -b {shlex.quote(session)} {' '.join(f'-H {name}:claimed' for name in claimed)} 127.0.0.1/proxy/9000/",
    )
    run(host, "systemctl stop echo")
    assert "claimed" not in seen
    assert re.search("^x-real-ip: 127.0.0.1$", seen, flags=re.MULTILINE | re.IGNORECASE)


@pytest.mark.attack("locks the owner out by guessing 15 passwords from one address")
def test_wrong_guesses_from_one_address_do_not_lock_the_owner_out(opened):
    paths = ("/login", "/login/", "/LOGIN", "//login", "/login?to=x", "/x/../login", "/%6cogin")
    statuses = guesses(opened, 15, paths=paths)
    assert statuses.count("429") == 14
    assert owner_logs_in(opened).accepted


@pytest.mark.attack("locks the owner out by guessing passwords from 24 addresses at once")
@pytest.mark.parametrize("network", ["198.51.100.{}", "2001:db8:{}::1"])
def test_wrong_guesses_from_many_addresses_do_not_lock_the_owner_out(opened, network):
    sources = [network.format(number) for number in range(1, 25)]
    length, to = (128, "http://[2001:db8::80]") if ":" in network else (32, OUTSIDE)
    added = sources if length == 32 else [*sources, "2001:db8::80"]
    run(opened, "\n".join(f"ip address add {address}/{length} dev lo nodad" for address in added))
    statuses = guesses(opened, 24, sources=sources, to=to)
    assert statuses == ["200", *["429"] * 23]
    assert owner_logs_in(opened).accepted


@pytest.mark.attack("locks out the owner in another network by guessing continuously", long=True)
@pytest.mark.parametrize("own", ["198.51.100.200", "2001:db8:200::1"])
def test_continuous_guesses_do_not_lock_out_the_owner_in_another_network(opened, own):
    if ":" in own:
        sources, to = [f"2001:db8:99::{number}" for number in range(1, 25)], "http://[2001:db8::81]"
        added = [f"{address}/128" for address in (*sources, own, "2001:db8::81")]
    else:
        sources, to, added = ["198.51.100.199"], OUTSIDE, ["198.51.100.199/32", f"{own}/32"]
    run(opened, "\n".join(f"ip address add {address} dev lo nodad" for address in added))
    assert guesses(opened, 5, sources=sources, to=to).count("429") == 4
    time.sleep(31)
    assert guesses(opened, 24, sources=sources, to=to) == ["429"] * 24
    assert guesses(opened, 1, sources=[own], password=PASSWORD, to=to) == ["302"]


def test_refused_login_says_when_to_retry(opened):
    guesses(opened, 2)
    response = run(opened, f"curl -si -d password=wrong {OUTSIDE}/login")
    assert response.startswith("HTTP/1.1 429 ")
    assert "Retry-After: 60" in response
    assert "A port forward of Session Manager has no such limit." in response


@pytest.mark.attack("makes the setup write as root through a link in the home folder")
@pytest.mark.parametrize("link", ["/etc/ssl/mine", "/root/none", "/work/../etc/ssl/mine"])
def test_bashrc_link_out_of_the_home_is_refused(host, link):
    run(host, "echo kept >/etc/ssl/mine; cp /work/.bashrc /run/bashrc; chmod 644 /etc/ssl/mine")
    run(host, f"ln -sf {link} /work/.bashrc; chown -h coder /work/.bashrc")
    done = attempt(host, PROFILE)
    run(host, "runuser -u coder -- cp --remove-destination /run/bashrc /work/.bashrc")
    assert done.exit_code != 0
    assert "/work/.bashrc is a symbolic link out of the home, to /" in done.stderr
    assert run(
        host, "cat /etc/ssl/mine; stat -c %U /etc/ssl/mine; ls /root/none* /etc/ssl/mine?* 2>/dev/null || true"
    ) == ("kept\nroot\n")


def test_link_within_the_home_is_followed(host):
    run(
        host,
        "runuser -u coder -- sh -c 'mkdir -p /work/dots; mv /work/.bashrc /work/dots/rc; ln -s dots/rc /work/.bashrc'",
    )
    assert attempt(host, PROFILE).exit_code == 0
    assert run(host, "readlink /work/.bashrc; grep -c '>>> code-server' /work/dots/rc; stat -c %U /work/dots/rc") == (
        "dots/rc\n1\ncoder\n"
    )
    run(host, "runuser -u coder -- mv /work/dots/rc /work/.bashrc")


@pytest.mark.attack("makes the setup create files as root through a linked folder of the home")
@pytest.mark.parametrize(
    ("task", "folder"),
    [(VS_CODE, "/work/.local/share/code-server/User"), (CODE_SERVER, "/work/.config/code-server")],
)
def test_no_file_is_written_through_a_link(host, task, folder):
    run(host, f"mkdir -p /srv/elsewhere; runuser -u coder -- mv {folder} /work/kept")
    run(host, f"runuser -u coder -- ln -s /srv/elsewhere {folder}")
    done = attempt(host, task)
    run(host, f"runuser -u coder -- sh -c 'rm {folder}; mv /work/kept {folder}'")
    assert done.exit_code != 0
    assert "Permission denied" in done.stderr
    assert run(host, "ls -A /srv/elsewhere") == ""
    assert attempt(host, task).exit_code == 0


@pytest.mark.attack("logs in with a hash that an earlier version sent through Systems Manager")
def test_hash_from_an_earlier_version_is_replaced(host):
    read = f"sed -n 's/^hashed-password: //p' {CONFIG}"
    current = run(host, read)
    assert attempt(host, CODE_SERVER).exit_code == 0
    assert run(host, read) == current
    run(host, f"sed -i '1s/.*/# Written by the code-server setup./' {CONFIG}")
    assert attempt(host, CODE_SERVER).exit_code == 0
    assert run(host, read) != current
    run(host, "systemctl restart code-server@coder")
    run(host, "until curl -fso /dev/null http://127.0.0.1/healthz; do sleep 0.1; done")
    assert owner_logs_in(host).accepted


@pytest.mark.attack("makes the setup remove a file as root through a linked extensions folder")
def test_extensions_are_not_changed_through_a_link(host):
    run(host, "mkdir -p /srv/lists; echo '[]' >/srv/lists/extensions.json; chmod 644 /srv/lists/extensions.json")
    run(
        host,
        f"cd {DATA}; runuser -u coder -- sh -c 'mv extensions /work/x; ln -s /srv/lists extensions'",
    )
    done = attempt(host, EXTENSIONS)
    run(host, f"runuser -u coder -- sh -c 'cd {DATA}; rm extensions; mv /work/x extensions'")
    assert done.exit_code != 0
    assert run(host, "cat /srv/lists/extensions.json; ls /srv/lists") == "[]\nextensions.json\n"


@pytest.mark.attack("reads the output of tasks as another account of the machine")
def test_only_root_and_the_user_read_the_logs(host):
    log = "/var/log/torchneuron/all.log"
    run(host, "id nosy >/dev/null 2>&1 || useradd nosy")
    assert run(host, f"runuser -u nosy -- cat {log} 2>/dev/null || echo refused") == "refused\n"
    assert " 17-verify-installation <==\n" in run(host, f"runuser -u coder -- cat {log}")
    assert run(host, f"runuser -u coder -- sh -c 'echo x >>{log}' 2>/dev/null || echo refused") == "refused\n"


@pytest.mark.attack(
    "exploits services that still run with known vulnerabilities, because the setup disabled needrestart"
)
def test_needrestart_keeps_the_configuration_of_the_image(host):
    old = "/etc/needrestart/conf.d/50-code-server-setup.conf"
    run(host, f"mkdir -p /etc/needrestart/conf.d; echo \"\\$nrconf{{restart}} = 'l';\" >{old}")
    assert "broken: needrestart is held back by an earlier setup" in attempt(host, VERIFY).stderr
    assert attempt(host, "01-configure-needrestart").exit_code == 0
    assert run(host, f"ls {old} 2>/dev/null || echo gone") == "gone\n"
    assert attempt(host, VERIFY).exit_code == 0


@pytest.mark.attack("serves a modified code-server package")
@pytest.mark.parametrize("which", ["CODE_SERVER_SHA256", "FIRST_SHA256"])
def test_package_with_another_checksum_is_not_installed(host, which):
    output = attempt(host, INSTALL).stderr
    known = re.fullmatch(r"code-server 4\.139\.1 is installed \(amd64, SHA-256 ([0-9a-f]{64})\)\n", output)[1]
    look = "stat -c '%i %Y' /usr/lib/code-server/package.json"
    before, wrong = run(host, look), "0" * 64
    done = attempt(host, INSTALL, **{which: f"amd64={wrong}"})
    assert done.exit_code != 0
    assert f"on this host is from another package: its SHA-256 sum is {known}, and {wrong} was expected" in done.stderr
    run(host, "rm /var/lib/code-server-setup/*")
    done = attempt(host, INSTALL, **{which: f"amd64={wrong}"})
    assert done.exit_code != 0
    assert f"is not installed: its SHA-256 sum is {known}, and {wrong} was expected" in done.stderr
    assert run(host, look) == before
    assert attempt(host, INSTALL, **{which: f"amd64={known} arm64={wrong}"}).stderr == output
    assert attempt(host, VERIFY).exit_code == 0


def test_extension_version_is_pinned_and_unlisted_extensions_stay(host):
    pinned = "saoudrizwan.claude-dev@3.16.0"
    assert attempt(host, EXTENSIONS, EXTENSIONS=pinned).stderr == f"installed for coder: {pinned}\n"
    assert attempt(host, VERIFY, EXTENSIONS=pinned).stderr.startswith("all is well: log in")
    installed = run(host, f"ls {DATA}/extensions").split()
    assert [name for name in installed if name.startswith("saoudrizwan.claude-dev-3.16.0")]
    assert [name for name in installed if name.startswith("amazonwebservices.amazon-q-vscode-")]
    assert attempt(host, EXTENSIONS, EXTENSIONS="").stderr == "installed for coder: no extensions\n"
    missing = attempt(host, VERIFY, EXTENSIONS="saoudrizwan.claude-dev@3.15.0").stderr
    assert "missing: extension saoudrizwan.claude-dev@3.15.0 (install it" in missing
    settings = json.loads(run(host, f"cat {DATA}/User/settings.json"))
    assert (settings["extensions.autoUpdate"], settings["extensions.autoCheckUpdates"]) == (False, False)
