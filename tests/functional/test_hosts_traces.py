"""Hosts leave nothing behind on this machine, however they end."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rehearsal.hosts.booted import factory
from rehearsal.hosts.code_server_package import CodeServerPackage
from rehearsal.hosts.machine import HostError
from rehearsal.hosts.rootfs import Rootfs
from rehearsal.hosts.sweep import sweep
from tests.functional.hosts_support import booted, eventually, run, traces

# With the tests of whole rehearsals, which look for abandoned hosts too.
pytestmark = pytest.mark.xdist_group("traces")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def host():
    with booted("i-bystander") as host:
        yield host


class TestNothingIsLeft:
    def test_after_destroy(self, monkeypatch, tmp_path):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with booted("i-warm-up"):
            pass
        before = traces(os.getpid())
        with booted("i-traces") as host:
            run(host, "nohup sleep 1000 >/dev/null 2>&1 &")
            host.forward(80)
            assert traces(os.getpid()) != before
        assert traces(os.getpid()) == before
        assert list(tmp_path.iterdir()) == []
        host.destroy()

    def test_after_destroy_while_a_command_runs(self):
        before = traces(os.getpid())
        with ThreadPoolExecutor() as pool, booted("i-busy") as host:
            running = pool.submit(run, host, "touch /run/begun; sleep 1000", timeout=60)
            assert eventually(lambda: run(host, "test -e /run/begun", path="/run/look.sh").exit_code == 0)
            started = time.monotonic()
            host.destroy()
            assert running.result(timeout=10).exit_code != 0
            assert time.monotonic() - started < 5
        assert traces(os.getpid()) == before

    def test_after_a_boot_that_fails(self, monkeypatch, tmp_path):
        before = traces(os.getpid())
        monkeypatch.setenv("TORCHNEURON_CACHE_DIR", str(tmp_path))
        rootfs = Rootfs("trixie")
        rootfs.mount_point.mkdir(parents=True)
        (rootfs.tree / "etc/ssl/certs").mkdir(parents=True)
        (rootfs.tree / "etc/ssl/certs/ca-certificates.crt").touch()
        CodeServerPackage().path.touch()
        with pytest.raises(HostError, match="doesn't look like"):
            factory("trixie")("i-fails", region="sa-east-1").boot()
        assert traces(os.getpid()) == before

    def test_after_kill_9_of_the_owner_and_a_sweep(self, host):
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert owner.stdout is not None
        with owner:
            assert owner.stdout.readline() == "booted\n"
            assert traces(owner.pid).processes
            assert traces(owner.pid).cgroups
            owner.send_signal(signal.SIGKILL)
        assert eventually(lambda: not traces(owner.pid).processes), "hosts die with their owner, before any sweep"
        sweep()
        assert not traces(owner.pid).cgroups
        assert run(host, "echo unharmed").stdout == "unharmed\n"


OWNER = """
import time
from rehearsal.hosts.booted import factory
factory("trixie")("i-orphan", region="sa-east-1").boot()
print("booted", flush=True)
time.sleep(600)
"""
