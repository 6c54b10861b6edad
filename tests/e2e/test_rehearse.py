"""`make rehearse` itself: what it says, and that it leaves nothing behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from rehearsal.hosts import cgroups
from tests.e2e.conftest import PROJECT


@pytest.fixture
def rehearsal(tmp_path):
    """Start `make rehearse`'s program, and see at the end that nothing of it is left on this machine."""
    own = {name: (PROJECT / name).read_bytes() for name in ("config.json", "cdktf.json")}
    mounts, deployed = host_mounts(), (PROJECT / "cdktf.out").exists()
    mark = uuid.uuid4().hex
    started = []

    def start(*arguments):
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "rehearsal.rehearse", *arguments],
                cwd=PROJECT,
                env={**os.environ, "TMPDIR": str(tmp_path), "REHEARSAL_MARK": mark},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return started[0]

    yield start
    assert started[0].poll() is not None
    assert list(tmp_path.iterdir()) == []
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


def test_staying_up_until_ctrl_c_then_nothing_is_left(rehearsal):
    running = rehearsal()
    told = []
    for line in running.stdout:
        told.append(line)
        if line.startswith("Every other command"):
            break
    text = "".join(told)
    address = re.search(r"code-server:  (http://127\.0\.0\.1:\d+)", text)
    assert address, text
    folder = Path(re.search(r"source (\S+)/environment\.sh", text).group(1))
    assert folder.is_dir()
    password = subprocess.run(
        ["bash", "-c", f"source {folder}/environment.sh && invoke password"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(password.stdout.strip()) >= 12
    os.killpg(running.pid, signal.SIGINT)
    rest, _ = running.communicate(timeout=90)
    assert running.returncode == 0, rest
    assert "takes the password from Secrets Manager" in text
    assert "HTTP 101" in text
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
