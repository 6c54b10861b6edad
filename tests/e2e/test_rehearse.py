"""`make rehearse` itself: what it says, and that it leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.conftest import PROJECT, host_mounts, processes


def traces():
    """Everything a rehearsal could leave on this machine."""
    cgroups = sorted(str(path) for path in Path("/sys/fs/cgroup").rglob("*") if path.is_dir())
    temporary = sorted(Path(tempfile.gettempdir()).glob("torchneuron*"))
    shared = sorted(Path("/dev/shm").iterdir())
    own = {name: (PROJECT / name).read_bytes() for name in ("config.json", "cdktf.json")}
    return host_mounts(), cgroups, temporary, shared, own, (PROJECT / "cdktf.out").exists()


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "rehearsal.rehearse", *arguments],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def left_behind(before):
    """Processes that were not there before and belong to a rehearsal."""
    return [
        line
        for pid, line in processes().items()
        if pid not in before and re.search(r"rehears|nspawn|terraform|code-server|nginx", line)
    ]


def test_staying_up_until_ctrl_c_then_nothing_is_left():
    before, running = traces(), processes()
    rehearsal = start()
    told = []
    for line in rehearsal.stdout:
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
    os.killpg(rehearsal.pid, signal.SIGINT)
    rest, _ = rehearsal.communicate(timeout=90)
    assert rehearsal.returncode == 0, rest
    assert "takes the password from Secrets Manager" in text
    assert "HTTP 101" in text
    assert not folder.exists()
    assert traces() == before
    assert left_behind(running) == []


def test_where_no_host_can_boot_the_steps_are_called_not_executed():
    before, running = traces(), processes()
    done = start("--once", "--suite", "none")
    told, _ = done.communicate(timeout=300)
    assert done.returncode == 0, told
    assert len(re.findall(r"^  \d\d-\S+ +NOT EXECUTED", told, flags=re.MULTILINE)) == 17
    assert "17 scripts checked with bash -n: no syntax error." in told
    assert not re.search(r"\bdone\b", told)
    assert traces() == before
    assert left_behind(running) == []


def test_ctrl_c_on_the_way_leaves_nothing_either():
    before, running = traces(), processes()
    rehearsal = start("--once")
    for line in rehearsal.stdout:
        if line.startswith("$ invoke deploy"):
            break
    time.sleep(8)
    os.killpg(rehearsal.pid, signal.SIGINT)
    rest, _ = rehearsal.communicate(timeout=90)
    assert rehearsal.returncode == 130, rest
    assert "Traceback" not in rest
    assert traces() == before
    assert left_behind(running) == []
