"""What a rehearsal that was killed outright leaves, the next one removes, and nothing of one that lives."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rehearsal.hosts import orphans
from tests.functional.support import eventually

PROJECT = Path(__file__).resolve().parents[2]

OWNER = f"""
import os, subprocess, time
from rehearsal.hosts import orphans
folder = orphans.new_sandbox_folder()
(folder / "state").mkdir()
(folder / "state" / "purchase.lock").touch()
command, environment = ["sh", "-c", "sleep 600 & wait"], {{**os.environ, "{orphans.VARIABLE}": str(folder)}}
child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
print(folder, child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def owner():
    """Starts owners of a sandbox each: the process, its sandbox's folder, the session of what runs in there."""
    started, sessions = [], []

    def start():
        command = [sys.executable, "-c", OWNER]
        process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        folder, session = process.stdout.readline().split()
        sessions.append(int(session))
        return process, Path(folder), int(session)

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for session in sessions:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(session, signal.SIGKILL)


def members(session):
    """The processes of a session that have not ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, session_id = (process / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session_id) == session and state != "Z":
                found.append(int(process.name))
    return found


def test_what_the_dead_left_goes_and_what_the_living_use_stays(owner, temporary):
    (dead, of_dead, dead_session), (_, of_living, living_session) = owner(), owner()
    mine, other = orphans.new_sandbox_folder(), temporary / "torchneuron-rehearsal-notes"
    other.mkdir()
    assert orphans.remove_sandboxes() == []
    eventually(lambda: len(members(dead_session)) == len(members(living_session)) == 2)
    dead.kill()
    dead.wait()
    assert len(members(dead_session)) == 2, "its commands go on by themselves"
    assert orphans.remove_sandboxes() == [of_dead]
    assert not of_dead.exists()
    eventually(lambda: members(dead_session) == [])
    assert len(members(living_session)) == 2
    assert {mine, of_living, other} <= set(temporary.iterdir())
    assert orphans.remove_sandboxes() == []


def test_a_process_number_that_another_has_by_now_is_no_owner(temporary):
    mine = orphans.new_sandbox_folder()
    _, _, pid, started, _ = mine.name.split("-")
    of_dead = mine.with_name(f"torchneuron-rehearsal-{pid}-{int(started) - 1}-abcdefgh")
    mine.rename(of_dead)
    assert orphans.remove_sandboxes() == [of_dead]


def test_a_rehearsal_sweeps_when_it_starts_and_says_so(owner):
    dead, folder, session = owner()
    dead.kill()
    dead.wait()
    command = [sys.executable, "-m", "rehearsal", "--host-suite", "none"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == f"rehearsal: removed {folder}, left by a rehearsal that was killed\n"
        assert running.stdout.readline().startswith("rehearsal: http://127.0.0.1:")
        running.terminate()
    assert not folder.exists()
    assert members(session) == []
