"""`make rehearse` itself: what it says, and that it leaves nothing behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from rehearsal.hosts import cgroups
from rehearsal.scenarios.login import log_in
from tests.e2e.conftest import PROJECT
from tests.functional.hosts_support import eventually


@pytest.fixture
def temporary():
    """A folder for temporary files, of a short name: sockets' paths have to fit. Empty again at the end."""
    folder = Path(tempfile.mkdtemp(prefix="r-"))
    yield folder
    folder.rmdir()


@pytest.fixture
def rehearsal(temporary):
    """Starts `make rehearse`'s program, and sees at the end that nothing of it is left on this machine."""
    own = {name: (PROJECT / name).read_bytes() for name in ("config.json", "cdktf.json")}
    mounts, deployed = host_mounts(), (PROJECT / "cdktf.out").exists()
    mark = uuid.uuid4().hex
    started = []

    def start(*arguments):
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "rehearsal.rehearse", *arguments],
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
    left_running = [one.args for one in started if one.poll() is None]
    for one in started:
        one.kill()
        one.wait()
    assert left_running == []
    assert list(temporary.iterdir()) == []
    assert processes_marked(mark) == []
    # Hosts have an environment of their own; their cgroup tells whose they are.
    assert cgroups.abandoned() == []
    assert host_mounts() == mounts
    assert {name: (PROJECT / name).read_bytes() for name in own} == own
    assert (PROJECT / "cdktf.out").exists() == deployed


def processes_marked(mark):
    """Command lines of the processes that inherited the mark."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def host_mounts():
    return sorted(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())


def read_until(running, words):
    """What it prints until a line has these words."""
    told = []
    for line in running.stdout:
        told.append(line)
        if words in line:
            return "".join(told)
    pytest.fail(f"ended before {words!r}:\n{''.join(told)}")


def kill_outright(running):
    """Its commands go on, and keep the pipe that it wrote to."""
    running.kill()
    running.wait()


def test_two_at_a_time_beside_two_that_were_killed_then_nothing_is_left(rehearsal, temporary):
    in_deploy, in_setup = rehearsal("--once", "--suite", "none"), rehearsal("--once")
    read_until(in_deploy, "$ invoke deploy")
    eventually(lambda: list(temporary.glob("*/tmp/plugin*")))
    kill_outright(in_deploy)
    read_until(in_setup, "02-cleanup-neuron-repo")
    kill_outright(in_setup)
    assert len(list(temporary.iterdir())) == 2

    running, other = rehearsal(), rehearsal("--once")
    text = read_until(running, "Every other command")
    address = re.search(r"code-server:  (http://127\.0\.0\.1:\d+)", text)
    assert address, text
    assert "takes the password from Secrets Manager" in text
    assert "HTTP 101" in text
    folder = Path(re.search(r"source (\S+)/environment\.sh", text).group(1))
    assert {path.name.split("-")[2] for path in temporary.iterdir()} <= {str(running.pid), str(other.pid)}

    told, _ = other.communicate(timeout=300)
    assert other.returncode == 0, told
    assert "HTTP 101" in told
    # The other's end has taken nothing away.
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


def test_where_no_host_can_boot_the_steps_are_called_not_executed(rehearsal):
    done = rehearsal("--once", "--suite", "none")
    told, _ = done.communicate(timeout=300)
    assert done.returncode == 0, told
    assert len(re.findall(r"^  \d\d-\S+ +NOT EXECUTED", told, flags=re.MULTILINE)) == 17
    assert "17 scripts checked with bash -n: no syntax error." in told
    assert not re.search(r"\bdone\b", told)


def test_ctrl_c_on_the_way_leaves_nothing_either(rehearsal):
    running = rehearsal("--once")
    for line in running.stdout:
        if line.startswith("$ invoke deploy"):
            break
    time.sleep(8)
    os.killpg(running.pid, signal.SIGINT)
    rest, _ = running.communicate(timeout=90)
    assert running.returncode == 130, rest
    assert "Traceback" not in rest
