"""A rehearsal ends with the process that started it, and what a killed one leaves is removed by the next."""

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
from tests.sessions import running_in_session

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

# A test as those in tests/e2e: a rehearsal of its own, and a command in it that takes long.
LONG_TEST = """
from rehearsal.scenarios.sandbox import run
from tests.sandboxes import open_sandbox

def test_long():
    with open_sandbox(region="sa-east-1", host_suite="none") as sandbox:
        run(sandbox, ["sh", "-c", "echo $$ >$0; exec sleep 600", "{pid_file}"])
"""
LONG_SCENARIO = """
import subprocess, sys

def test_long():
    command = [sys.executable, "-m", "rehearsal.rehearse", "--with-parent", "--suite", "none", "--once"]
    subprocess.run(command, check=True)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def owner():
    """Starts owners of a sandbox: returns the process, its sandbox's folder, and the session that runs in it."""
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


def test_orphaned_sandboxes_are_removed_and_those_in_use_stay(owner, temporary):
    (dead, dead_folder, dead_session), (_, live_folder, live_session) = owner(), owner()
    own_folder, other_folder = orphans.new_sandbox_folder(), temporary / "torchneuron-rehearsal-notes"
    other_folder.mkdir()
    assert orphans.remove_sandboxes() == []
    eventually(lambda: len(running_in_session(dead_session)) == len(running_in_session(live_session)) == 2)
    dead.kill()
    dead.wait()
    assert len(running_in_session(dead_session)) == 2, "commands in the sandbox outlive its owner"
    assert orphans.remove_sandboxes() == [dead_folder]
    assert not dead_folder.exists()
    eventually(lambda: running_in_session(dead_session) == [])
    assert len(running_in_session(live_session)) == 2
    assert {own_folder, live_folder, other_folder} <= set(temporary.iterdir())
    assert orphans.remove_sandboxes() == []


def test_a_process_that_reuses_the_owners_pid_is_not_the_owner():
    folder = orphans.new_sandbox_folder()
    _, _, pid, started, _ = folder.name.split("-")
    orphan = folder.with_name(f"torchneuron-rehearsal-{pid}-{int(started) - 1}-abcdefgh")
    folder.rename(orphan)
    assert orphans.remove_sandboxes() == [orphan]


def test_an_owner_that_is_a_zombie_has_ended(owner):
    dead, folder, _ = owner()
    dead.kill()
    eventually(lambda: "State:\tZ" in Path(f"/proc/{dead.pid}/status").read_text())
    assert orphans.remove_sandboxes() == [folder]


def test_a_rehearsal_removes_orphans_when_it_starts_and_reports_them(owner):
    dead, folder, session = owner()
    dead.kill()
    dead.wait()
    command = [sys.executable, "-m", "rehearsal", "--with-parent", "--host-suite", "none"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == f"rehearsal: removed {folder}, left by a rehearsal that was killed\n"
        assert running.stdout.readline().startswith("rehearsal: http://127.0.0.1:")
        running.terminate()
    assert not folder.exists()
    assert running_in_session(session) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_rehearsal_in_a_test_ends_when_pytest_is_stopped(tmp_path, temporary, number):
    pid_file = tmp_path / "pid"
    with running_pytest(tmp_path, LONG_TEST.format(pid_file=pid_file)) as tests:
        eventually(lambda: pid_file.exists() and pid_file.read_text())
        session = int(pid_file.read_text())
        assert running_in_session(session)
        assert list(temporary.iterdir())
        os.kill(tests.pid, number)
        tests.wait(120)
        eventually(lambda: running_in_session(session) == [] and rehearsals(temporary) == [])
    eventually(lambda: list(temporary.glob("torchneuron-*")) == [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_scenario_in_a_test_ends_when_pytest_is_stopped(tmp_path, temporary, number):
    with running_pytest(tmp_path, LONG_SCENARIO) as tests:
        eventually(lambda: len(rehearsals(temporary)) == 2)
        os.kill(tests.pid, number)
        tests.wait(120)
        eventually(lambda: rehearsals(temporary) == [])
    eventually(lambda: list(temporary.glob("torchneuron-*")) == [])


@contextlib.contextmanager
def running_pytest(folder, text):
    """pytest, running one test."""
    (folder / "test_long.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    with subprocess.Popen(
        [*command, str(folder / "test_long.py")],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def rehearsals(temporary):
    """Processes of the rehearsal package that use this folder for temporary files."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            uses_folder = f"TMPDIR={temporary}".encode() in (process / "environ").read_bytes().split(b"\0")
            if uses_folder and any(word.startswith(b"rehearsal") for word in words):
                found.append(int(process.name))
    return found
