"""Helpers of the tests on hosts."""

import contextlib
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from rehearsal.hosts import light
from rehearsal.hosts.booted import factory
from rehearsal.hosts.host import Script
from rehearsal.hosts.requirements import missing, missing_for_light

SCRIPT = "/var/lib/amazon/ssm/i-test/document/orchestration/command/step/_script.sh"


def require(gaps):
    if gaps:
        pytest.fail("\n".join(f"{gap.what} is missing: {gap.why}. {gap.remedy}" for gap in gaps), pytrace=False)


@contextlib.contextmanager
def booted(name, suite="trixie"):
    require(missing(suite))
    with up(factory(suite)(name, region="sa-east-1")) as host:
        yield host


@contextlib.contextmanager
def light_host(name, tree=None):
    require(missing_for_light())
    with up(light.factory(tree)(name, region="sa-east-1")) as host:
        yield host


@contextlib.contextmanager
def up(host):
    try:
        host.boot()
        yield host
    finally:
        host.destroy()


def run(host, script, *, timeout=120.0, cancelled=None, folder=None, path=SCRIPT, **environment):
    return host.run(Script(script, path, timeout, environment, folder, cancelled or threading.Event()))


def eventually(condition, seconds=120):
    """Wait until `condition` returns something true, at most `seconds`; returns its last result."""
    deadline = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return result


@dataclass(frozen=True)
class Traces:
    """What the hosts of a process leave on this machine while they run."""

    mounts: tuple[str, ...]
    cgroups: tuple[str, ...]
    processes: tuple[str, ...]
    descriptors: int


def traces(pid):
    mark = f"torchneuron-rehearsal-{pid}-"
    command = ["unshare", "--mount", "sh", "-c", "mount -t cgroup2 cgroup2 /sys/fs/cgroup && ls /sys/fs/cgroup"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return Traces(
        mounts=tuple(Path("/proc/self/mounts").read_text().splitlines()),
        cgroups=tuple(name for name in names if name.startswith(mark)),
        processes=tuple(process.name for process in Path("/proc").glob("[0-9]*") if belongs(process, mark)),
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
    )


def belongs(process, mark):
    with contextlib.suppress(OSError):
        return any(mark in (process / name).read_text(errors="replace") for name in ("cmdline", "cgroup"))
    return False
