"""Root in a host, as which a task's script runs, cannot affect the machine that the host runs on.

No attack would do harm if it succeeded: its target belongs to the test, or is opened without writing to it.
"""

import contextlib
import secrets
import socket
import subprocess
from pathlib import Path

import pytest

from rehearsal.hosts.light import OWN
from rehearsal.hosts.loop import LoopDevice
from rehearsal.hosts.volumes import Volume
from tests.functional.hosts_support import booted, light_host, run

KINDS = {
    "booted": lambda: booted("i-jail"),
    "light": lambda: light_host("i-jail"),
    "light, own files": lambda: light_host("i-jail", OWN),
}
MARK = "rehearsal-escape-test"
# Kernel settings that run programs on this machine or stop it, and harmless ones.
SETTINGS = "kernel/core_pattern kernel/modprobe kernel/sysrq kernel/panic vm/laptop_mode fs/suid_dumpable"
CAPABILITIES = {"MKNOD": 27, "SYS_RAWIO": 17, "SYS_MODULE": 16, "SYS_TIME": 25, "SYSLOG": 34, "BPF": 39, "PERFMON": 38}

# Each exits with status 0 if it succeeds.
ATTACKS = {
    "makes a device node of this machine's disk and mounts it": """
        mknod /disk b $MAJOR $MINOR && mount /disk /mnt && grep -q $MARK /mnt/mark""",
    "makes a device node of this machine's disk and reads it": """
        mknod /disk2 b $MAJOR $MINOR && head -c 64M /disk2 | grep -q -a $MARK""",
    "finds this machine's disk in its own devices": """
        for node in $(find /dev -xdev -type b); do head -c 1 $node >/dev/null && exit 0; done; exit 1""",
    "mounts this machine's devices": """
        mount -t devtmpfs none /mnt && head -c 64M /mnt/loop$MINOR | grep -q -a $MARK""",
    "makes a loop device": """
        mknod /control c 10 237; mknod /loop b 7 $MINOR
        true </control || true </dev/loop-control || true </loop""",
    "leaves its root folder by a chroot of its own": """
        exec python3 -c 'import os
os.makedirs("/tmp/cell", exist_ok=True)
os.chroot("/tmp/cell")
for _ in range(64): os.chdir("..")
os.chroot(".")
os.stat(os.environ["OUTSIDE"])'""",
    "looks for this machine's files below its mounts": """
        umount -l /dev /proc/sys /sys 2>/dev/null; umount -l / 2>/dev/null
        mount -t proc none /mnt; for root in / /mnt/1/root /mnt/1/cwd /mnt/*/root /dev/old /oldroot; do
            if test -e $root$OUTSIDE; then exit 0; fi; done; exit 1""",
    "enters the namespaces of this machine's first process": "nsenter --target 1 --mount test -e $OUTSIDE",
    "changes this machine's kernel": """
        for setting in $SETTINGS; do if true >>/proc/sys/$setting; then exit 0; fi; done; exit 1""",
    "makes the kernel's settings writable again and changes this machine's": """
        mount -o remount,bind,rw /proc/sys; umount /proc/sys
        for setting in $SETTINGS; do if true >>/proc/sys/$setting; then exit 0; fi; done; exit 1""",
    "mounts the kernel's settings again and changes this machine's": """
        mount -t proc none /mnt && for setting in $SETTINGS; do if true >>/mnt/sys/$setting; then exit 0; fi; done
        exit 1""",
    "asks this machine's kernel for a reset by its trigger": """
        mount -t proc none /mnt; true >>/proc/sysrq-trigger || true >>/mnt/sysrq-trigger""",
    "reads this machine's memory": """
        mount -t proc none /mnt; mknod /mem c 1 1
        for memory in /proc/kcore /mnt/kcore /dev/mem /mem /mnt/kpagecount; do
            if head -c 1 $memory >/dev/null; then exit 0; fi; done; exit 1""",
    "changes this machine's devices": """
        mount -o remount,rw /sys; mount -t sysfs none /mnt
        for sys in /sys /mnt; do
            for file in kernel/uevent_helper kernel/profiling power/state block/loop0/queue/read_ahead_kb; do
                if test -e $sys/$file && true >>$sys/$file; then exit 0; fi; done; done; exit 1""",
    "names a program for this machine to run when a cgroup ends": """
        for controller in name=systemd memory devices freezer pids cpu blkio; do
            if mount -t cgroup -o $controller none /mnt; then
                if true >>/mnt/release_agent; then exit 0; fi; umount /mnt; fi; done; exit 1""",
    "stops this machine's processes by their cgroup": """
        for controller in freezer devices memory pids; do
            if mount -t cgroup -o $controller none /mnt; then
                if mkdir /mnt/$MARK; then rmdir /mnt/$MARK; exit 0; fi; umount /mnt; fi; done
        mount -t cgroup2 none /mnt && test -d /mnt/$COUSIN""",
    "mounts this machine's kernel interfaces": """
        for kind in debugfs tracefs securityfs configfs efivarfs pstore; do
            if mount -t $kind none /mnt; then exit 0; fi; done; exit 1""",
    "signals this machine's processes": "kill -0 $PID && grep -q $MARK /proc/$PID/cmdline",
    "sees this machine's processes": """
        mount -t proc none /mnt; grep -q -e "-escape-test[.]" /proc/[0-9]*/cmdline /mnt/[0-9]*/cmdline""",
    "speaks to this machine's sockets": """
        exec python3 -c 'import os, socket
socket.socket(socket.AF_UNIX).connect("\\0" + os.environ["SOCKET"])'""",
    "finds what this machine left open": """
        mount -t proc none /mnt
        ls -l /proc/[0-9]*/fd /mnt/[0-9]*/fd 2>/dev/null | grep -E -e '-> (mnt:|user:|net:|/memfd:host|.*pytest-of)'""",
}


@pytest.fixture(scope="module", params=KINDS)
def host(request):
    with KINDS[request.param]() as host:
        yield host


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """The targets, as an environment: a disk, a file, a process, a socket and a cgroup of this machine."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "files").mkdir()
    (folder / "files/mark").write_text(f"{MARK}\n")
    image = folder / "disk"
    subprocess.run(["mkfs.ext4", "-q", "-d", folder / "files", image, "64M"], check=True)
    name = f"{MARK}-{secrets.token_hex(8)}"
    with (
        image.open("r+b") as file,
        contextlib.closing(LoopDevice(file.fileno())) as device,
        socket.socket(socket.AF_UNIX) as listener,
        subprocess.Popen([f"{MARK}.", "1000"], executable="/usr/bin/sleep") as process,
        cgroup(name),
    ):
        listener.bind(f"\0{name}")
        listener.listen()
        yield {
            "MAJOR": str(device.major),
            "MINOR": str(device.minor),
            "MARK": MARK,
            "OUTSIDE": str(folder / "files/mark"),
            "PID": str(process.pid),
            "SOCKET": name,
            "SETTINGS": SETTINGS,
            "COUSIN": name,
        }
        process.kill()


@contextlib.contextmanager
def cgroup(name):
    """A cgroup of this machine."""
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t cgroup2 none /sys/fs/cgroup && "$1" "/sys/fs/cgroup/$2"',
        "sh",
    ]
    subprocess.run([*command, "mkdir", name], check=True)
    try:
        yield
    finally:
        subprocess.run([*command, "rmdir", name], check=True)


class TestRootInAHost:
    @pytest.mark.attack("Root in a host gets at the machine that it runs on")
    @pytest.mark.parametrize("attack", ATTACKS)
    def test_attack_fails(self, host, outside, attack):
        # In its own mount namespace, so that it does not affect the next attack.
        script = f"#!/bin/sh\nexec unshare --mount sh -c {quoted(ATTACKS[attack])}"
        done = run(host, script, **outside)
        assert done.exit_code != 0, f"root in a host {attack}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr or "Error" in done.stderr

    @pytest.mark.attack("Root in a host has a capability that reaches the kernel")
    def test_capabilities_are_bounded(self, host):
        text = run(host, "cat /proc/self/status").stdout
        held = int(next(line.split()[1] for line in text.splitlines() if line.startswith("CapBnd")), 16)
        assert [name for name, bit in CAPABILITIES.items() if held >> bit & 1] == []
        inside, outside_id, count = run(host, "cat /proc/self/uid_map").stdout.split()
        assert (inside, count) == ("0", "65536")
        assert int(outside_id) >= 65536

    @pytest.mark.attack("A host's own shell runs among this machine's processes when the agent enters")
    def test_commands_of_the_agent_are_inside_from_the_first_instruction(self, host, outside):
        fake = f"""#!/usr/bin/env python3
import os, sys
try:
    os.kill({outside["PID"]}, 0)
except ProcessLookupError:
    pass
except OSError:
    open("/tmp/seen", "a").write("seen")
else:
    open("/tmp/seen", "a").write("killed")
os.execv("/bin/dash", ["sh", *sys.argv[1:]])
"""
        host.write_file("/usr/local/bin/sh", fake, mode=0o755)
        try:
            assert host.read_file("/etc/hostname") == "i-jail\n"
            assert run(host, "test -e /tmp/seen").exit_code == 1
        finally:
            run(host, "#!/bin/dash\nrm -f /usr/local/bin/sh /tmp/seen")


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.fixture
def disk():
    volume = Volume(f"vol-{secrets.token_hex(8)}", 1)
    yield volume
    volume.delete()


@pytest.fixture
def volume(host, disk):
    """A disk of the host's own, with a file system on it."""
    host.attach_volume(disk)
    assert run(host, "mkfs.ext4 -q /dev/nvme1n1").exit_code == 0
    yield disk
    run(host, "umount -q /mnt /srv/kept")
    assert host.detach_volume(disk)


class TestVolumes:
    @pytest.mark.attack("A file system on a host's volume holds a device node of this machine's disk")
    @pytest.mark.parametrize("remounted", ["true", "mount -o remount,bind,dev /mnt", "mount -o remount,dev /mnt"])
    def test_device_node_on_a_volume_cannot_be_opened(self, host, volume, outside, remounted):
        made = 'debugfs -w -R "mknod disk b $MAJOR $MINOR" /dev/nvme1n1 && mount /dev/nvme1n1 /mnt && test -b /mnt/disk'
        assert run(host, made, **outside).exit_code == 0
        bind = "mkdir -p /tmp/b && mount --bind /mnt /tmp/b; mount -o remount,bind,dev /tmp/b"
        read = "for disk in /mnt/disk /tmp/b/disk; do if head -c 1 $disk; then exit 0; fi; done; exit 1"
        assert run(host, f"{remounted}; {bind}\n({read}); code=$?; umount /tmp/b; exit $code").exit_code == 1

    @pytest.mark.attack("A volume is mounted with options that are about more than itself")
    @pytest.mark.parametrize("option", ["errors=panic", "journal_path=/dev/loop0", "journal_dev=0x700"])
    def test_mount_option_that_affects_this_machine_is_refused(self, host, volume, option):
        done = run(host, f"mount -o {option} /dev/nvme1n1 /mnt")
        assert done.exit_code != 0
        assert f"mounts volumes without the options {option}" in done.stderr
        assert run(host, "grep -q ^/dev/nvme /proc/mounts").exit_code != 0

    @pytest.mark.attack("A volume's file system says that the machine panics at its errors")
    def test_file_system_error_does_not_panic_this_machine(self, host, volume):
        done = run(host, "tune2fs -e panic /dev/nvme1n1 && mount /dev/nvme1n1 /mnt && grep ' /mnt ' /proc/mounts")
        assert "errors=remount-ro" in done.stdout, done.stderr

    @pytest.mark.attack("Somebody in a host who is not root has a volume mounted over /etc")
    def test_only_root_can_mount(self, host, volume):
        done = run(host, "setpriv --reuid 65534 --clear-groups /sbin/mount.ext4 /dev/nvme1n1 /etc")
        assert done.exit_code != 0
        assert "only root can mount a volume" in done.stderr

    @pytest.mark.attack("A host keeps the node of a detached volume, whose device another volume may have by then")
    def test_detached_volume_cannot_be_opened_through_a_kept_node(self, host, disk):
        host.attach_volume(disk)
        keep = "mkdir -p /srv; touch /srv/kept; mount --bind /dev/nvme1n1 /srv/kept; ls -l /srv/kept"
        assert run(host, f"{keep}; head -c 1 /srv/kept").exit_code == 0
        assert host.detach_volume(disk)
        assert run(host, "head -c 1 /srv/kept").exit_code != 0
        assert run(host, "chmod 666 /srv/kept; chown 0 /srv/kept; head -c 1 /srv/kept").exit_code != 0
        assert run(host, "umount /srv/kept").exit_code == 0

    @pytest.mark.attack("A host reads the volume of another")
    def test_volume_of_another_host_cannot_be_read(self, host, disk):
        with light_host("i-other") as other:
            other.attach_volume(disk)
            major, minor = run(other, "mountpoint --devno /dev/nvme1n1").stdout.split(":")
            look = f"mknod /o b {major} {minor.strip()}; head -c 1 /o || head -c 1 /dev/volumes/nvme1n1"
            assert run(host, look).exit_code != 0
            assert "is no volume of this host" in run(host, "/sbin/mount.ext4 /dev/nvme1n1 /mnt").stderr


def test_attacks_leave_nothing(outside):
    """The target file still exists, and no mount of an attack."""
    assert MARK not in Path("/proc/self/mounts").read_text()
    assert Path(outside["OUTSIDE"]).exists()
