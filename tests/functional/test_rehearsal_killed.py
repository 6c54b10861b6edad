"""`python -m rehearsal` with busy hosts of both kinds: where it listens, and that SIGKILL leaves nothing."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from rehearsal.client import Access
from tests.functional.hosts_support import eventually, traces
from tests.functional.rehearsal_support import PERMITTING, make_profile, online
from tests.functional.support import AMI_PARAMETER

PROJECT = Path(__file__).resolve().parents[2]
LISTENS = "0A"
"""linux/tcp_states.h, as in /proc/net/tcp."""


def start(ready, temporary, *arguments):
    """Start a rehearsal; returns its process and its access when it is ready."""
    command = [sys.executable, "-m", "rehearsal", "--with-parent", "--ready-file", str(ready), *arguments]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)
    assert eventually(ready.exists)
    return process, Access.from_ready_file(ready)


@pytest.fixture
def busy(tmp_path):
    """A rehearsal with two booted and two light hosts, a volume on one of each kind, and a command on all."""
    temporary, ready = tmp_path / "temporary", tmp_path / "ready.json"
    temporary.mkdir()
    process, access = start(ready, temporary, "--host-suite", "trixie", "--booted", "2")
    try:
        yield process, access.endpoint, _occupy(access)
    finally:
        process.kill()
        process.communicate()


def _occupy(access):
    """Launch the hosts and keep them busy; returns a port on this machine that leads into a host."""
    ec2, ssm, iam = (access.client(service, "sa-east-1") for service in ("ec2", "ssm", "iam"))
    instances = ec2.run_instances(
        ImageId=ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"],
        InstanceType="inf2.xlarge",
        MinCount=4,
        MaxCount=4,
        IamInstanceProfile={"Name": make_profile(iam, "managed", PERMITTING)},
    )["Instances"]
    ids = [instance["InstanceId"] for instance in instances]
    assert eventually(lambda: online(ssm) == set(ids))
    states = access.control("status")["hosts"]
    assert sorted(states.values()) == ["running", "running", "running (light)", "running (light)"]
    for kind in ("running", "running (light)"):
        host = next(instance_id for instance_id in ids if states[instance_id] == kind)
        volume = ec2.create_volume(AvailabilityZone=instances[0]["Placement"]["AvailabilityZone"], Size=1)["VolumeId"]
        ec2.attach_volume(VolumeId=volume, InstanceId=host, Device="/dev/sdf")
    script = "if test -e /dev/nvme1n1; then mkfs.ext4 -q /dev/nvme1n1; mount /dev/nvme1n1 /mnt; fi; sleep 1000 & wait"
    sent = ssm.send_command(InstanceIds=ids, DocumentName="AWS-RunShellScript", Parameters={"commands": [script]})
    command_id = sent["Command"]["CommandId"]

    def all_run():
        found = ssm.list_command_invocations(CommandId=command_id)["CommandInvocations"]
        return len(found) == 4 and all(invocation["Status"] == "InProgress" for invocation in found)

    assert eventually(all_run)
    return access.control("forward", {"instance_id": ids[0], "port": 80})["port"]


def test_rehearsal_listens_on_loopback_only_and_sigkill_leaves_nothing(busy, tmp_path):
    process, endpoint, forward = busy
    temporary = tmp_path / "temporary"
    family = relatives(process.pid)
    listeners = [listener for pid in family for listener in listening(pid)]
    assert {port for _, port in listeners} == {int(endpoint.rpartition(":")[2]), forward}
    assert all(address.is_loopback for address, _ in listeners)

    assert eventually(lambda: mounted_volumes(family) == 2)
    spaces = namespaces(family) - namespaces([os.getpid()])
    # Each of the four hosts has one of each of the three kinds.
    assert len(spaces) >= 12
    assert len(loop_devices(temporary)) == 2
    assert len(traces(process.pid).cgroups) == 2
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert eventually(lambda: not any(alive(pid, started) for pid, started in family.items()))
    assert not spaces & namespaces(int(process.name) for process in all_processes())
    assert eventually(lambda: loop_devices(temporary) == [])
    assert list(temporary.iterdir()) == []

    (tmp_path / "ready.json").unlink()
    following, _ = start(tmp_path / "ready.json", temporary, "--host-suite", "trixie")
    following.terminate()
    output, _ = following.communicate(timeout=120)
    removed = re.findall(
        rf"removed torchneuron-rehearsal-{process.pid}-\S+, left by a rehearsal that was killed", output
    )
    assert len(removed) == 2
    assert traces(process.pid).cgroups == ()
    assert traces(process.pid).processes == ()
    assert list(temporary.iterdir()) == []


def all_processes():
    return list(Path("/proc").glob("[0-9]*"))


def stat(pid):
    """Parent and start time of a process, None when it has ended."""
    with contextlib.suppress(OSError):
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else (int(fields[1]), int(fields[19]))
    return None


def alive(pid, started):
    found = stat(pid)
    return found is not None and found[1] == started


def relatives(pid):
    """The start times of a process and its descendants, by pid."""
    known = {int(process.name): found for process in all_processes() if (found := stat(process.name))}
    family, size = {pid: known[pid][1]}, 0
    while len(family) > size:
        size = len(family)
        family |= {child: started for child, (parent, started) in known.items() if parent in family}
    return family


def namespaces(pids):
    """The mount, network and pid namespaces of processes."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            found |= {(Path("/proc") / str(pid) / "ns" / kind).readlink().name for kind in ("mnt", "net", "pid")}
    return found


def listening(pid):
    """Addresses and ports where a process listens in this machine's network, which is also this process's."""
    inodes = set()
    with contextlib.suppress(OSError):
        for descriptor in (Path("/proc") / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(descriptor.readlink().name.removeprefix("socket:[").removesuffix("]"))
    for table in ("tcp", "tcp6"):
        for line in (Path("/proc/net") / table).read_text().splitlines()[1:]:
            local, state, inode = (line.split()[column] for column in (1, 3, 9))
            if state == LISTENS and inode in inodes:
                address, _, port = local.partition(":")
                # 32-bit words, each in this machine's byte order.
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
                yield ip_address(b"".join(words)), int(port, 16)


def loop_devices(temporary):
    listed = subprocess.run(["losetup", "--list", "--output", "BACK-FILE"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if line.startswith(f"{temporary}/rehearsal-vol-")]


def mounted_volumes(family):
    """The number of volumes that hosts have mounted."""
    found = set()
    for pid in family:
        with contextlib.suppress(OSError):
            mounts = (Path("/proc") / str(pid) / "mountinfo").read_text().splitlines()
            found |= {line.split()[2] for line in mounts if line.split()[-2] == "/dev/nvme1n1"}
    return len(found)
