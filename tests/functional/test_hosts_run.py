"""A script in a host runs as the SSM agent runs it, whether the host is booted or light."""

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
    def test_passes_output_and_exit_code_on(self, host):
        result = run(host, "echo out; echo err >&2; exit 7")
        assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 7)
        assert result.exit_reason == "exited"

    def test_keeps_output_whole(self, host):
        assert len(run(host, "head -c 300000 /dev/zero | tr '\\0' x").stdout) == 300_000

    @pytest.mark.parametrize(("signal", "code"), [("TERM", 143), ("KILL", KILLED)])
    def test_a_signal_is_an_exit_code_as_in_a_shell(self, host, signal, code):
        result = run(host, f"kill -{signal} $$")
        assert (result.exit_code, result.exit_reason) == (code, "exited")

    def test_has_a_services_bare_environment_and_what_was_given(self, host):
        lines = run(host, "#!/usr/bin/env -S sh -c 'exec cat /proc/self/environ'", ONE="a b", TWO="$HOME").stdout
        given = dict(line.split("=", 1) for line in lines.rstrip("\0").split("\0"))
        assert given == {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "PWD": "/usr/bin",
            "ONE": "a b",
            "TWO": "$HOME",
        }

    def test_runs_as_root_in_usr_bin_with_nothing_to_read(self, host):
        result = run(host, "id -un; pwd; wc -c")
        assert result.stdout.split() == ["root", "/usr/bin", "0"]

    def test_working_directory(self, host):
        assert run(host, "pwd", folder="/opt").stdout == "/opt\n"
        gone = run(host, "echo ran", folder="/no/such/folder")
        assert gone.exit_code != 0
        assert "/no/such/folder" in gone.stderr
        assert gone.stdout == ""

    def test_honours_the_shebang(self, host):
        assert run(host, "#!/usr/bin/python3\nprint(6 * 7)").stdout == "42\n"
        assert run(host, "#!/bin/bash\necho ${BASH_VERSION:+bash}").stdout == "bash\n"
        assert run(host, "echo $0").stdout == f"{SCRIPT}\n"

    def test_script_is_roots_alone(self, host):
        assert run(host, f"stat -c '%a %U' {SCRIPT}").stdout == "700 root\n"

    def test_belongs_to_the_agents_service_where_there_are_services(self, host):
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

    def test_a_background_job_that_keeps_stdout_holds_the_step_up(self, host):
        result = run(host, "sleep 6543 & exit 0", timeout=3)
        assert (result.exit_code, result.exit_reason) == (KILLED, "timed-out")
        assert run(host, "pgrep -f '[s]leep 6543'").stdout == "", "its group is killed, though the leader is gone"

    def test_a_long_script(self, host):
        assert run(host, f"{'# ' + 'x' * 100}\n" * 10_000 + "echo end").stdout == "end\n"

    def test_a_job_let_go_properly_survives(self, host):
        result = run(host, "nohup sleep 7654 >/dev/null 2>&1 &")
        assert (result.exit_code, result.exit_reason) == (0, "exited")
        assert run(host, "pgrep -c -f '[s]leep 7654'").stdout == "1\n"

    def test_a_job_in_another_session_does_not_hold_the_timeout_up(self, host):
        started = time.monotonic()
        result = run(host, "setsid sleep 600 & echo said; sleep 600", timeout=5)
        assert time.monotonic() - started < 300
        assert (result.exit_reason, result.stdout) == ("timed-out", "said\n")

    def test_takes_milliseconds(self, host):
        def seconds():
            started = time.monotonic()
            assert run(host, "true").exit_code == 0
            return time.monotonic() - started

        # 10 to 20 ms on an idle machine. A poll or a service manager in the way would cost each of them a second.
        assert min(seconds() for _ in range(10)) < 1

    def test_several_at_once(self, host):
        def one(number):
            return run(host, f"sleep 0.1; echo {number}", path=f"/var/lib/amazon/ssm/{number}.sh")

        with ThreadPoolExecutor() as pool:
            results = list(pool.map(one, range(6)))
        assert [result.stdout for result in results] == [f"{n}\n" for n in range(6)]


class TestFiles:
    def test_written_and_read_back(self, host):
        host.write_file("/etc/rehearsal/a b's.conf", "text\nwith ü\n", mode=0o640)
        assert host.read_file("/etc/rehearsal/a b's.conf") == "text\nwith ü\n"
        assert run(host, "stat -c %a /etc/rehearsal/*.conf; ls -A /etc/rehearsal | wc -l").stdout == "640\n1\n"

    def test_a_file_that_is_not_there_is_an_error(self, host):
        with pytest.raises(HostError, match="no-such-file"):
            host.read_file("/no-such-file")


class TestHost:
    def test_has_the_tools_that_setups_scripts_use(self, host):
        done = run(host, "echo text | flock /tmp/lock gzip | base64 | bash -c 'base64 -d | gunzip'")
        assert (done.stdout, done.stderr) == ("text\n", "")

    def test_is_called_what_it_is(self, host):
        assert run(host, "hostname; cat /etc/hostname; getent hosts i-run").stdout.split()[:2] == ["i-run", "i-run"]

    def test_reaches_itself_and_nothing_else(self, host):
        host.write_file("/srv/page/index.html", "from the host", mode=0o644)
        serve = "cd /srv/page && nohup python3 -m http.server --bind 127.0.0.1 8123 >/dev/null 2>&1 &"
        assert run(host, serve).exit_code == 0
        port = host.forward(8123)
        assert eventually(lambda: fetch(port)) == b"from the host"
        assert run(host, "getent hosts example.com").exit_code != 0

    def test_no_orphan_stays_unburied(self, host):
        run(host, "(sleep 0.01 &) ; sleep 0.1")
        assert eventually(lambda: run(host, "ps -eo stat | grep -c '^Z'").stdout == "0\n")

    def test_a_reboot_ends_what_runs_and_keeps_files(self, host):
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


class TestApart:
    @pytest.mark.parametrize("tree", [None, OWN])
    def test_light_hosts_see_nothing_of_each_other_or_of_this_machine(self, tree, tmp_path):
        places = "/etc /tmp /var/lib/torchneuron /var/log/torchneuron /root /opt /usr/local"
        (tmp_path / "ours").touch()
        with light_host("i-one", tree) as one, light_host("i-two", tree) as two:
            run(one, f"mkdir -p {places}; for at in {places}; do echo one >$at/mark; done; rm -rf /usr/share/doc")
            assert run(two, f"cd / && find {places} -maxdepth 1 -name mark").stdout == ""
            assert run(two, "test -d /usr/share/doc").exit_code == 0
            assert run(one, f"test -e {tmp_path}/ours").exit_code != 0
            assert "i-two" not in run(one, "ps -ef; hostname").stdout
        assert not Path("/etc/mark").exists()
        assert Path("/usr/share/doc").is_dir()

    def test_sixty_four_at_once(self):
        hosts = [light.factory()(f"i-{number:02}", region="sa-east-1") for number in range(64)]
        started = time.monotonic()
        try:
            run_all([host.boot for host in hosts])
            with ThreadPoolExecutor(64) as pool:
                said = list(pool.map(lambda host: run(host, "sleep 2; hostname").stdout.strip(), hosts))
            # Some five seconds on two idle cores; one after another the commands alone would take two minutes.
            assert time.monotonic() - started < 120
            assert said == [host.name for host in hosts]
        finally:
            run_all([host.destroy for host in hosts])

    def test_only_so_many_boot_and_a_place_becomes_free_again(self):
        mixed = MixedFactory(factory("trixie"), light.factory(), 2)
        made = [mixed(f"i-{number}", region="sa-east-1") for number in range(3)]
        assert [isinstance(one, LightHost) for one in made] == [False, False, True]
        made[0].destroy()
        assert not isinstance(mixed("i-3", region="sa-east-1"), LightHost)
        assert isinstance(mixed("i-4", region="sa-east-1"), LightHost)


def fetch(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=60) as response:
            return response.read()
    except OSError:
        return None
