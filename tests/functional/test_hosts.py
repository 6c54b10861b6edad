"""A booted host is what the setup steps expect, and is isolated from others."""

import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from rehearsal.hosts import registry_proxy
from rehearsal.hosts.booted import factory
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.rootfs import SUITES
from tests.functional.hosts_support import booted, eventually, run


@pytest.fixture(scope="module")
def host():
    with booted("i-host") as host:
        yield host


@pytest.fixture
def new_host():
    with booted("i-new") as host:
        yield host


@pytest.fixture(scope="module", params=SUITES)
def any_suite(request):
    with booted(f"i-{request.param}", request.param) as host:
        yield host


class TestHost:
    def test_debian_looks_like_a_neuron_ami(self, any_suite):
        look = """
        systemctl is-system-running
        . /etc/os-release && echo $VERSION_CODENAME
        ls -d /opt/aws_neuronx_venv_*/bin/activate | wc -l
        test -x /opt/aws/neuron/bin/neuron-ls && id -un ubuntu
        hostname
        """
        state, codename, venvs, user, name = run(any_suite, look).stdout.split()
        assert state == "running"
        assert f"i-{codename}" == any_suite.name == name
        assert int(venvs) >= 2
        assert user == "ubuntu"
        for absent in ("nginx", "code-server", "node"):
            assert run(any_suite, f"command -v {absent}").exit_code != 0

    def test_stale_neuron_source_breaks_apt_until_it_is_removed(self, new_host):
        broken = run(new_host, "apt-get update", timeout=600)
        assert broken.exit_code == 100
        assert "jammy" in broken.stderr
        fixed = run(new_host, "sed -i /jammy/d /etc/apt/sources.list.d/neuron.list && apt-get update", timeout=600)
        assert fixed.exit_code == 0, fixed.stderr
        assert fixed.stderr == ""
        install = run(new_host, "apt-get install -y --no-install-recommends hello && hello", timeout=600)
        assert "Hello, world!" in install.stdout, install.stderr

    def test_release_and_extensions_install_from_the_stand_ins(self, any_suite):
        fetch = """
        set -e
        arch=$(dpkg --print-architecture)
        release=https://github.com/coder/code-server/releases/download
        curl -fsSL -o /tmp/c.deb $release/v4.139.1/code-server_4.139.1_$arch.deb
        dpkg -i /tmp/c.deb >/dev/null
        export HOME=/root
        for id in amazonwebservices.aws-toolkit-vscode amazonwebservices.amazon-q-vscode saoudrizwan.claude-dev; do
            code-server --install-extension "$id" >/dev/null
        done
        code-server --list-extensions
        """
        result = run(any_suite, fetch, timeout=600)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.split() == [
            "amazonwebservices.amazon-q-vscode",
            "amazonwebservices.aws-toolkit-vscode",
            "saoudrizwan.claude-dev",
        ]
        missing_release = run(any_suite, "curl -sS -o /dev/null -w '%{http_code}' https://github.com/other")
        assert missing_release.stdout == "404"

    def test_every_port_is_free_for_services_of_the_host(self, host):
        """The stand-ins are outside the host, so that its services may use any port."""
        listening = run(host, "ss --no-header --listening --tcp --numeric --all | awk '$1 == \"LISTEN\" { print $4 }'")
        assert listening.stdout.split() == [f"127.0.0.1:{registry_proxy.PORT}"]

    def test_internet_is_not_reachable(self, host):
        assert run(host, "curl -sS -m 5 https://example.com").exit_code == 6  # could not resolve
        tunnel = run(host, "curl -sS -m 5 -x http://127.0.0.1:3128 https://example.com")
        assert tunnel.exit_code != 0

    def test_forward_reaches_a_loopback_port_of_the_host(self, host):
        host.write_file("/srv/page/index.html", "from the host", mode=0o644)
        serve = "cd /srv/page && nohup python3 -m http.server --bind 127.0.0.1 8123 >/dev/null 2>&1 &"
        assert run(host, serve).exit_code == 0
        port = host.forward(8123)
        assert eventually(lambda: fetch(port)) == b"from the host"

    def test_reboot_keeps_files_services_and_forwards(self, new_host):
        unit = "[Service]\nExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 8124 --directory /srv\n"
        new_host.write_file("/etc/systemd/system/page.service", unit + "[Install]\nWantedBy=multi-user.target\n")
        new_host.write_file("/srv/index.html", "still here", mode=0o644)
        assert run(new_host, "systemctl enable --now page.service").exit_code == 0
        port = new_host.forward(8124)
        boot_id = run(new_host, "systemctl show -p UserspaceTimestampMonotonic").stdout
        run(new_host, "systemctl reboot")
        assert eventually(lambda: run(new_host, "systemctl show -p UserspaceTimestampMonotonic").stdout != boot_id)
        assert run(new_host, "systemctl is-active page amazon-ssm-agent").stdout == "active\nactive\n"
        assert eventually(lambda: fetch(port)) == b"still here"

    def test_two_hosts_are_isolated_from_each_other(self):
        with ThreadPoolExecutor() as pool, booted("i-one") as first, booted("i-two", "bookworm") as second:
            list(pool.map(lambda host: host.write_file("/etc/name", host.name), (first, second)))
            assert (first.read_file("/etc/name"), second.read_file("/etc/name")) == ("i-one", "i-two")
            assert run(first, "hostname").stdout == "i-one\n"

    def test_host_that_is_not_booted_is_an_error(self):
        host = factory("trixie")("i-none", region="sa-east-1")
        with pytest.raises(HostError, match="not running"):
            run(host, "true")
        host.destroy()

    def test_missing_images_are_reported_with_the_command_that_builds_them(self, monkeypatch, tmp_path):
        monkeypatch.setenv("TORCHNEURON_CACHE_DIR", str(tmp_path))
        with pytest.raises(HostError, match=r"rehearsal\.hosts\.images build --suite trixie"):
            factory("trixie")("i-none", region="sa-east-1").boot()


def fetch(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=60) as response:
            return response.read()
    except OSError:
        return None
