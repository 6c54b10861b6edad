"""A script in a booted or light host runs as the SSM agent runs it."""

import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rehearsal.hosts import light
from rehearsal.hosts.booted import factory
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.fleet import run_all
from rehearsal.hosts.host import KILLED
from rehearsal.hosts.light import OWN, LightHost
from rehearsal.hosts.mixed import MixedFactory
from tests.functional.hosts_support import SCRIPT, booted, eventually, light_host, run

KINDS = {
    "booted": lambda: booted("i-run"),
    "light": lambda: light_host("i-run"),
    "light, own files": lambda: light_host("i-run", OWN),
}


@pytest.fixture(scope="module", params=KINDS)
def host(request):
    with KINDS[request.param]() as host:
        yield host


class TestRun:
    def test_output_and_exit_code_are_returned(self, host):
        result = run(host, "echo out; echo err >&2; exit 7")
        assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 7)
        assert result.exit_reason == "exited"

    def test_output_is_not_truncated(self, host):
        assert len(run(host, "head -c 300000 /dev/zero | tr '\\0' x").stdout) == 300_000

    @pytest.mark.parametrize(("signal", "code"), [("TERM", 143), ("KILL", KILLED)])
    def test_signal_is_an_exit_code_as_in_a_shell(self, host, signal, code):
        result = run(host, f"kill -{signal} $$")
        assert (result.exit_code, result.exit_reason) == (code, "exited")

    def test_environment_is_a_services_plus_the_given_variables(self, host):
        lines = run(host, "#!/usr/bin/env -S sh -c 'exec cat /proc/self/environ'", ONE="a b", TWO="$HOME").stdout
        given = dict(line.split("=", 1) for line in lines.rstrip("\0").split("\0"))
        assert given == {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "PWD": "/usr/bin",
            "ONE": "a b",
            "TWO": "$HOME",
        }

    def test_script_runs_as_root_in_usr_bin_with_empty_input(self, host):
        result = run(host, "id -un; pwd; wc -c")
        assert result.stdout.split() == ["root", "/usr/bin", "0"]

    def test_working_directory(self, host):
        assert run(host, "pwd", folder="/opt").stdout == "/opt\n"
        refused = run(host, "echo ran", folder="/no/such/folder")
        assert refused.exit_code != 0
        assert "/no/such/folder" in refused.stderr
        assert refused.stdout == ""

    def test_shebang_is_honoured(self, host):
        assert run(host, "#!/usr/bin/python3\nprint(6 * 7)").stdout == "42\n"
        assert run(host, "#!/bin/bash\necho ${BASH_VERSION:+bash}").stdout == "bash\n"
        assert run(host, "echo $0").stdout == f"{SCRIPT}\n"

    def test_script_is_readable_by_root_only(self, host):
        assert run(host, f"stat -c '%a %U' {SCRIPT}").stdout == "700 root\n"

    def test_process_belongs_to_the_agents_service_on_a_booted_host(self, host):
        if isinstance(host, LightHost):
            return
        assert "/system.slice/amazon-ssm-agent.service" in run(host, "cat /proc/self/cgroup").stdout

    def test_empty_script_succeeds(self, host):
        assert run(host, "").exit_code == 0

    def test_timeout_kills_the_whole_process_group(self, host):
        started = time.monotonic()
        result = run(host, "echo begun; sleep 4321 & sleep 4321", timeout=5)
        assert time.monotonic() - started < 300
        assert (result.exit_code, result.exit_reason, result.stdout) == (KILLED, "timed-out", "begun\n")
        assert run(host, "pgrep -f '[s]leep 4321'").stdout == ""

    def test_cancel_kills_the_whole_process_group(self, host):
        cancelled = threading.Event()
        with ThreadPoolExecutor() as pool:
            running = pool.submit(run, host, "sleep 5432 | sleep 5432", timeout=600, cancelled=cancelled)
            assert eventually(lambda: run(host, "pgrep -c -f '[s]leep 5432'", path="/run/look.sh").stdout == "2\n")
            cancelled.set()
            result = running.result(timeout=300)
        assert (result.exit_code, result.exit_reason) == (KILLED, "cancelled")
        assert run(host, "pgrep -f '[s]leep 5432'").stdout == ""

    def test_background_job_that_keeps_stdout_delays_the_end(self, host):
        result = run(host, "sleep 6543 & exit 0", timeout=3)
        assert (result.exit_code, result.exit_reason) == (KILLED, "timed-out")
        assert run(host, "pgrep -f '[s]leep 6543'").stdout == "", "its group is killed, though the leader has ended"

    def test_long_script_runs(self, host):
        assert run(host, f"{'# ' + 'x' * 100}\n" * 10_000 + "echo end").stdout == "end\n"

    def test_detached_job_survives(self, host):
        result = run(host, "nohup sleep 7654 >/dev/null 2>&1 &")
        assert (result.exit_code, result.exit_reason) == (0, "exited")
        assert run(host, "pgrep -c -f '[s]leep 7654'").stdout == "1\n"

    def test_job_in_another_session_does_not_delay_the_timeout(self, host):
        started = time.monotonic()
        result = run(host, "setsid sleep 600 & echo output; sleep 600", timeout=5)
        assert time.monotonic() - started < 300
        assert (result.exit_reason, result.stdout) == ("timed-out", "output\n")

    def test_script_starts_in_milliseconds(self, host):
        def seconds():
            started = time.monotonic()
            assert run(host, "true").exit_code == 0
            return time.monotonic() - started

        # 10 to 20 ms on an idle machine. A poll or a service manager in between would take about a second.
        assert min(seconds() for _ in range(10)) < 1

    def test_scripts_run_concurrently(self, host):
        def run_numbered(number):
            return run(host, f"sleep 0.1; echo {number}", path=f"/var/lib/amazon/ssm/{number}.sh")

        with ThreadPoolExecutor() as pool:
            results = list(pool.map(run_numbered, range(6)))
        assert [result.stdout for result in results] == [f"{n}\n" for n in range(6)]


class TestFiles:
    def test_written_file_is_read_back(self, host):
        host.write_file("/etc/rehearsal/a b's.conf", "text\nwith ü\n", mode=0o640)
        assert host.read_file("/etc/rehearsal/a b's.conf") == "text\nwith ü\n"
        assert run(host, "stat -c %a /etc/rehearsal/*.conf; ls -A /etc/rehearsal | wc -l").stdout == "640\n1\n"

    def test_missing_file_is_an_error(self, host):
        with pytest.raises(HostError, match="no-such-file"):
            host.read_file("/no-such-file")


class TestHost:
    def test_tools_of_the_setup_scripts_are_installed(self, host):
        done = run(host, "echo text | flock /tmp/lock gzip | base64 | bash -c 'base64 -d | gunzip'")
        assert (done.stdout, done.stderr) == ("text\n", "")

    def test_host_name_is_the_instance_id(self, host):
        assert run(host, "hostname; cat /etc/hostname; getent hosts i-run").stdout.split()[:2] == ["i-run", "i-run"]

    def test_only_the_host_itself_is_reachable(self, host):
        host.write_file("/srv/page/index.html", "from the host", mode=0o644)
        serve = "cd /srv/page && nohup python3 -m http.server --bind 127.0.0.1 8123 >/dev/null 2>&1 &"
        assert run(host, serve).exit_code == 0
        port = host.forward(8123)
        assert eventually(lambda: fetch(port)) == b"from the host"
        assert run(host, "getent hosts example.com").exit_code != 0

    def test_orphaned_processes_are_reaped(self, host):
        run(host, "(sleep 0.01 &) ; sleep 0.1")
        assert eventually(lambda: run(host, "ps -eo stat | grep -c '^Z'").stdout == "0\n")

    def test_reboot_ends_processes_and_keeps_files(self, host):
        host.write_file("/etc/kept", "kept")
        run(host, "touch /run/forgotten; nohup sleep 8765 >/dev/null 2>&1 &")
        with ThreadPoolExecutor() as pool:
            begun = "echo begun; touch /run/begun; sleep 9876"
            running = pool.submit(run, host, begun, path="/var/lib/amazon/ssm/long.sh")
            assert eventually(lambda: run(host, "test -e /run/begun", path="/run/look.sh").exit_code == 0)
            host.reboot()
            ended = running.result(timeout=300)
        assert (ended.stdout, ended.exit_code != 0) == ("begun\n", True)
        assert host.read_file("/etc/kept") == "kept"
        assert run(host, "pgrep -f '[s]leep (8765|9876)'; ls /run/forgotten").stdout == ""


class TestSeveralHosts:
    @pytest.mark.parametrize("tree", [None, OWN])
    def test_light_hosts_are_isolated_from_each_other_and_this_machine(self, tree, tmp_path):
        places = "/etc /tmp /var/lib/torchneuron /var/log/torchneuron /root /opt /usr/local"
        (tmp_path / "ours").touch()
        with light_host("i-one", tree) as first, light_host("i-two", tree) as second:
            run(first, f"mkdir -p {places}; for at in {places}; do echo one >$at/mark; done; rm -rf /usr/share/doc")
            assert run(second, f"cd / && find {places} -maxdepth 1 -name mark").stdout == ""
            assert run(second, "test -d /usr/share/doc").exit_code == 0
            assert run(first, f"test -e {tmp_path}/ours").exit_code != 0
            assert "i-two" not in run(first, "ps -ef; hostname").stdout
        assert not Path("/etc/mark").exists()
        assert Path("/usr/share/doc").is_dir()

    def test_sixty_four_light_hosts_run_concurrently(self):
        hosts = [light.factory()(f"i-{number:02}", region="sa-east-1") for number in range(64)]
        started = time.monotonic()
        try:
            run_all([host.boot for host in hosts])
            with ThreadPoolExecutor(64) as pool:
                names = list(pool.map(lambda host: run(host, "sleep 2; hostname").stdout.strip(), hosts))
            # About five seconds on two idle cores. One after another, the commands alone would take two minutes.
            assert time.monotonic() - started < 120
            assert names == [host.name for host in hosts]
        finally:
            run_all([host.destroy for host in hosts])

    def test_number_of_booted_hosts_is_limited(self):
        mixed = MixedFactory(factory("trixie"), light.factory(), 2)
        hosts = [mixed(f"i-{number}", region="sa-east-1") for number in range(3)]
        assert [isinstance(host, LightHost) for host in hosts] == [False, False, True]
        hosts[0].destroy()
        assert not isinstance(mixed("i-3", region="sa-east-1"), LightHost)
        assert isinstance(mixed("i-4", region="sa-east-1"), LightHost)


def fetch(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=60) as response:
            return response.read()
    except OSError:
        return None
