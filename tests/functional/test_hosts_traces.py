"""Hosts leave nothing on this machine, however they end."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rehearsal.hosts import cgroups, light
from rehearsal.hosts.booted import factory
from rehearsal.hosts.code_server_package import CodeServerPackage
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.rootfs import Rootfs
from rehearsal.hosts.volumes import Volume
from tests.functional.hosts_support import booted, eventually, light_host, run, traces

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def host():
    with booted("i-bystander") as host:
        yield host


class TestBootedHost:
    def test_nothing_is_left_after_destroy(self, monkeypatch, tmp_path):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with booted("i-warm-up"):
            pass
        before = traces(os.getpid())
        volume = Volume("vol-01234567", 1)
        with booted("i-traces") as host:
            host.attach_volume(volume)
            run(host, "mkfs.ext4 -q /dev/nvme1n1 && mount /dev/nvme1n1 /mnt")
            run(host, "nohup sleep 1000 >/dev/null 2>&1 &")
            host.forward(80)
            assert traces(os.getpid()) != before
        volume.delete()
        assert traces(os.getpid()) == before
        assert list(tmp_path.iterdir()) == []
        host.destroy()

    def test_nothing_is_left_after_destroy_while_a_command_runs(self):
        before = traces(os.getpid())
        with ThreadPoolExecutor() as pool, booted("i-busy") as host:
            running = pool.submit(run, host, "touch /run/begun; sleep 1000", timeout=600)
            assert eventually(lambda: run(host, "test -e /run/begun", path="/run/look.sh").exit_code == 0)
            started = time.monotonic()
            host.destroy()
            assert running.result(timeout=300).exit_code != 0
            assert time.monotonic() - started < 300
        assert traces(os.getpid()) == before

    def test_nothing_is_left_after_a_failed_boot(self, monkeypatch, tmp_path):
        before = traces(os.getpid())
        monkeypatch.setenv("TORCHNEURON_CACHE_DIR", str(tmp_path))
        rootfs = Rootfs("trixie")
        (rootfs.tree / "etc/ssl/certs").mkdir(parents=True)
        (rootfs.tree / "etc/ssl/certs/ca-certificates.crt").touch()
        CodeServerPackage().path.touch()
        with pytest.raises(HostError, match="doesn't look like"):
            factory("trixie")("i-fails", region="sa-east-1").boot()
        assert traces(os.getpid()) == before

    def test_nothing_is_left_after_sigkill_of_the_owner_and_a_cleanup(self, host):
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert owner.stdout is not None
        with owner:
            assert owner.stdout.readline() == "booted\n"
            assert traces(owner.pid).processes
            assert traces(owner.pid).cgroups
            assert devices(owner.pid) == 1
            owner.send_signal(signal.SIGKILL)
        assert eventually(lambda: not traces(owner.pid).processes), "hosts end with their owner, before any cleanup"
        cgroups.remove_orphans()
        assert not traces(owner.pid).cgroups
        assert eventually(lambda: devices(owner.pid) == 0)
        assert run(host, "echo unharmed").stdout == "unharmed\n"


class TestLightHost:
    def test_nothing_is_left_after_destroy(self, monkeypatch, tmp_path):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        before = light_traces()
        with light_host("i-light-traces") as host:
            run(host, "nohup sleep 1000 >/dev/null 2>&1 & mount -t tmpfs more /mnt")
            host.forward(80)
            assert light_traces() != before
        assert light_traces() == before
        assert list(tmp_path.iterdir()) == []
        host.destroy()

    def test_nothing_is_left_after_destroy_while_a_command_runs(self):
        before = light_traces()
        with ThreadPoolExecutor() as pool, light_host("i-light-traces") as host:
            running = pool.submit(run, host, "touch /run/begun; sleep 1000", timeout=600)
            assert eventually(lambda: run(host, "test -e /run/begun", path="/run/look.sh").exit_code == 0)
            host.destroy()
            assert running.result(timeout=300).exit_code != 0
        assert light_traces() == before

    def test_nothing_is_left_after_sigkill_of_the_owner(self):
        code = OWNER.replace("booted", "light").replace('factory("trixie")', "factory()")
        owner = subprocess.Popen(
            [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert owner.stdout is not None
        with owner:
            assert owner.stdout.readline() == "light\n"
            family = descendants(owner.pid)
            assert len(family) >= 2
            assert devices(owner.pid) == 1
            owner.send_signal(signal.SIGKILL)
        assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family))
        assert eventually(lambda: devices(owner.pid) == 0)

    def test_user_without_root_is_refused(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        before = light_traces()
        with pytest.raises(HostError, match="namespaces and mounts"):
            light.factory()("i-nobody", region="sa-east-1").boot()
        assert light_traces() == before


def light_traces():
    """What light hosts of this process leave while they run: mounts, processes below this one, open files."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return mounts, descendants(os.getpid()), len(list(Path("/proc/self/fd").iterdir()))


def descendants(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        # A thread may end while this looks.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return sorted(found)


def devices(pid):
    """The number of loop devices of the volume that process `pid` created."""
    listed = subprocess.run(["losetup", "--list", "--output", "BACK-FILE"], capture_output=True, text=True, check=True)
    return listed.stdout.count(f"rehearsal-vol-{pid:08x}-")


OWNER = """
import os, time
from rehearsal.hosts.booted import factory
from rehearsal.hosts.volumes import Volume
host = factory("trixie")("i-orphan", region="sa-east-1")
host.attach_volume(Volume(f"vol-{os.getpid():08x}", 1))
host.boot()
host._container.execute("mkfs.ext4 -q /dev/nvme1n1 && mount /dev/nvme1n1 /mnt", "", purpose="mount")
print("booted", flush=True)
time.sleep(600)
"""
