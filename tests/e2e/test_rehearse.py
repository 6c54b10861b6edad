"""`make rehearse`: its output, and that it leaves nothing behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

from rehearsal.hosts import cgroups
from rehearsal.scenarios.login import log_in
from tests.e2e.conftest import PROJECT
from tests.functional.hosts_support import eventually


@pytest.fixture
def temporary():
    """A folder for temporary files with a short name, as socket paths have to fit. Empty at the end."""
    folder = Path(tempfile.mkdtemp(prefix="r-"))
    yield folder
    folder.rmdir()


@pytest.fixture
def rehearsal(temporary):
    """Starts the program of `make rehearse`; checks at the end that it has left nothing on this machine."""
    own = {name: (PROJECT / name).read_bytes() for name in ("config.json", "cdktf.json")}
    mounts, deployed = host_mounts(), (PROJECT / "cdktf.out").exists()
    mark = uuid.uuid4().hex
    started = []

    def start(*arguments):
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "rehearsal.rehearse", "--with-parent", *arguments],
                cwd=PROJECT,
                env={**os.environ, "TMPDIR": str(temporary), "REHEARSAL_MARK": mark},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    still_running = [process.args for process in started if process.poll() is None]
    for process in started:
        process.kill()
        process.wait()
    assert still_running == []
    assert list(temporary.iterdir()) == []
    assert processes_marked(mark) == []
    # Hosts do not inherit the mark; the name of their cgroup identifies them.
    assert cgroups.abandoned() == []
    assert host_mounts() == mounts
    assert {name: (PROJECT / name).read_bytes() for name in own} == own
    assert (PROJECT / "cdktf.out").exists() == deployed


def processes_marked(mark):
    """Command lines of processes whose environment has the mark."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def host_mounts():
    return sorted(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())


def read_until(running, words):
    """Its output up to the first line with these words."""
    lines = []
    for line in running.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    pytest.fail(f"ended before {words!r}:\n{''.join(lines)}")


def kill(running):
    """Kill it, but not the commands it has started."""
    running.kill()
    running.wait()


def test_two_rehearsals_that_are_killed_and_two_at_a_time_leave_nothing(rehearsal, temporary):
    in_deploy, in_setup = rehearsal("--once", "--suite", "none"), rehearsal("--once")
    read_until(in_deploy, "$ invoke deploy")
    eventually(lambda: list(temporary.glob("*/tmp/plugin*")))
    kill(in_deploy)
    read_until(in_setup, "02-cleanup-neuron-repo")
    kill(in_setup)
    assert eventually(lambda: list(temporary.iterdir()) == []), "the AWS of each removes what its owner left"

    running, other = rehearsal(), rehearsal("--once")
    text = read_until(running, "All other commands")
    address = re.search(r"code-server:  (http://127\.0\.0\.1:\d+)", text)
    assert address, text
    assert "accepts the password from Secrets Manager" in text
    assert "HTTP 101" in text
    folder = Path(re.search(r"source (\S+)/environment\.sh", text).group(1))
    assert {path.name.split("-")[2] for path in temporary.iterdir()} <= {str(running.pid), str(other.pid)}

    output, _ = other.communicate(timeout=300)
    assert other.returncode == 0, output
    assert "HTTP 101" in output
    # The end of the other one has not removed anything of this one.
    assert list(temporary.iterdir()) == [folder]
    password = subprocess.run(
        ["bash", "-c", f"source {folder}/environment.sh && invoke password"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert log_in(int(address.group(1).rpartition(":")[2]), password.stdout.strip()).accepted
    os.killpg(running.pid, signal.SIGINT)
    rest, _ = running.communicate(timeout=90)
    assert running.returncode == 0, rest
    assert not folder.exists()


def test_steps_are_reported_as_not_executed_where_no_host_can_boot(rehearsal):
    done = rehearsal("--once", "--suite", "none")
    output, _ = done.communicate(timeout=300)
    assert done.returncode == 0, output
    assert len(re.findall(r"^  \d\d-\S+ +NOT EXECUTED", output, flags=re.MULTILINE)) == 17
    assert "17 scripts checked with bash -n: no syntax errors." in output
    assert not re.search(r"\bdone\b", output)


def test_ctrl_c_during_a_deploy_leaves_nothing(rehearsal, temporary):
    running = rehearsal("--once")
    read_until(running, "$ invoke deploy")
    eventually(lambda: list(temporary.glob("*/tmp/plugin*")))
    os.killpg(running.pid, signal.SIGINT)
    rest, _ = running.communicate(timeout=90)
    assert running.returncode == 130, rest
    assert "Traceback" not in rest
