"""EBS volumes on hosts: real disks, their data, and the setup task that puts the home folder on one."""

import contextlib
import os
import subprocess
import threading
from pathlib import Path

import pytest

from rehearsal.hosts.booted import factory
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.loop import LoopDevice
from rehearsal.hosts.requirements import missing
from rehearsal.hosts.rootfs import SUITES
from rehearsal.hosts.volumes import Volume
from tests.functional.hosts_support import booted, eventually, light_host, require, run

SCRIPTS = Path(__file__).parents[2] / "setup_tasks" / "scripts"
TASK = (SCRIPTS / "07-create-home-dir.sh").read_text()
VOLUME = "vol-0123456789abcdef0"
LINK = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0"
ADD_USER = "useradd --home-dir /work --no-create-home --shell /bin/bash --user-group coder"


@contextlib.contextmanager
def disk(gigabytes=1, volume_id=VOLUME):
    volume = Volume(volume_id, gigabytes)
    try:
        yield volume
    finally:
        volume.delete()


@contextlib.contextmanager
def host_with(suite, *volumes, name="i-volume"):
    """A booted host with these volumes attached, and the user."""
    require(missing(suite))
    host = factory(suite)(name, region="sa-east-1")
    for volume in volumes:
        host.attach_volume(volume)
    try:
        host.boot()
        ok(host, ADD_USER)
        yield host
    finally:
        host.destroy()


def ok(host, script, **environment):
    result = run(host, script, timeout=600, **environment)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def create_home(host, volume=VOLUME, home="/work"):
    """Run task 07 as the setup sends it, without its wrapper."""
    return run(host, TASK, timeout=600, USER="coder", HOME_DIR=home, DATA_VOLUME=volume)


def verify(host):
    """Run task 17; returns what it reports as broken."""
    password = {"PASSWORD": "some-password"}
    ports = {"INTERNAL_PORT": "8080", "NGINX_PORT": "80", "NGINX_LISTEN": "loopback", "TLS": "off"}
    ports |= {"TLS_CERTIFICATE": "", "EXTENSIONS": ""}
    where = {"USER": "coder", "HOME_DIR": "/work", "DATA_VOLUME": VOLUME, "CODE_SERVER_VERSION": "1.2.3"}
    return run(host, (SCRIPTS / "17-verify-installation.sh").read_text(), **password, **ports, **where).stderr


def refused(host, **arguments):
    result = create_home(host, **arguments)
    assert result.exit_code == 1
    return result.stderr


def reboot(host):
    before = ok(host, "systemctl show -p UserspaceTimestampMonotonic")
    run(host, "systemctl reboot")
    assert eventually(lambda: run(host, "systemctl show -p UserspaceTimestampMonotonic").stdout != before)


def devices(volume):
    """The volume's loop devices on this machine."""
    listed = subprocess.run(
        ["losetup", "--list", "--noheadings", "--output", "BACK-FILE"], capture_output=True, text=True
    )
    return [line for line in listed.stdout.splitlines() if f"rehearsal-{volume.volume_id}-" in line]


@pytest.mark.parametrize("suite", SUITES)
def test_home_folder_is_on_its_volume_and_moves_to_the_next_host(suite):
    """A blank volume, a second run, a reboot, and another host that finds the files."""
    with disk() as volume:
        with host_with(suite, volume) as first:
            done = create_home(first)
            assert (done.exit_code, done.stdout) == (0, ""), done.stderr
            assert done.stderr == f"/work belongs to coder, on volume {VOLUME}\n"
            ok(first, "runuser -u coder -- sh -c 'echo mine >/work/notes; echo changed >/work/.bashrc'")
            look = "cat /etc/fstab; stat -c '%n %U %a %Y' /work /work/.[!.]* /work/*; findmnt -no SOURCE,FSTYPE /work"
            before = ok(first, look)
            assert create_home(first).exit_code == 0
            assert ok(first, look) == before
            reboot(first)
            assert ok(first, look) == before
            assert ok(first, "cat /work/notes; systemctl is-system-running") == "mine\nrunning\n"
        with host_with(suite, volume, name="i-second") as second:
            assert create_home(second).exit_code == 0
            assert ok(second, "cat /work/notes /work/.bashrc; stat -c %U /work/notes") == "mine\nchanged\ncoder\n"


@pytest.fixture(scope="module")
def host():
    with host_with("trixie", name="i-volumes") as host:
        yield host


@pytest.fixture
def volume(host):
    """A blank volume on the host, removed at the end with what the task has changed."""
    with disk() as volume:
        host.attach_volume(volume)
        yield volume
        run(host, "umount -q /work; rm -rf /work; sed -i '/ \\/work /d' /etc/fstab; systemctl daemon-reload")
        assert host.detach_volume(volume)


def test_volumes_are_attached_and_detached_while_the_host_runs(host):
    with disk(3) as volume, disk(volume_id="vol-0aaaaaaaa") as other:
        host.attach_volume(volume)
        host.attach_volume(other)
        assert ok(host, f"readlink -f {LINK} {LINK[:-17]}0aaaaaaaa").split() == ["/dev/nvme1n1", "/dev/nvme2n1"]
        assert ok(host, f"blockdev --getsize64 {LINK}") == f"{3 * 1024**3}\n"
        ok(host, f"mkfs.ext4 -q {LINK} && mount {LINK} /mnt")
        assert not host.detach_volume(volume), "it is mounted"
        ok(host, "umount /mnt")
        assert host.detach_volume(volume)
        assert host.detach_volume(other)
        assert run(host, f"test -e {LINK} || test -e /dev/nvme1n1").exit_code == 1


def test_files_on_the_root_disk_are_not_hidden_by_a_volume(host, volume):
    ok(host, "mkdir /work && touch /work/.hidden")
    assert "/work has files on the root disk" in refused(host)
    assert ok(host, f"blkid -p {LINK} || echo blank; ls -A /work") == "blank\n.hidden\n"
    assert "/work" not in ok(host, "cat /etc/fstab")


@pytest.mark.parametrize(
    "fill",
    [
        "mkfs.ext4 -q {0} && dd if=/dev/urandom of={0} bs=1k count=1 seek=1",
        r"printf '\203\0\0\0\0\10\0\0\0\0\1\0' | dd of={0} bs=1 seek=450; printf '\125\252' | dd of={0} bs=1 seek=510",
        "mkswap -q {0}",
        "echo something of mine | dd of={0} bs=1 seek=100000",
    ],
    ids=["broken", "partitioned", "swap", "unknown"],
)
def test_volume_with_unknown_data_is_not_formatted(host, volume, fill):
    ok(host, f"({fill.format(LINK)}) >/dev/null 2>&1 && sync")
    before = ok(host, f"head -c 64M {LINK} | sha256sum")
    assert "is left as it is" in refused(host)
    assert ok(host, f"head -c 64M {LINK} | sha256sum") == before
    assert " /work " not in ok(host, "cat /etc/fstab /proc/mounts")


def test_existing_file_system_is_mounted_unchanged(host, volume):
    ok(host, f"mkfs.ext4 -q -L MINE {LINK} && mount {LINK} /mnt && echo kept >/mnt/file && umount /mnt")
    assert create_home(host).exit_code == 0
    assert ok(host, f"cat /work/file; blkid -p -s LABEL -o value {LINK}") == "kept\nMINE\n"


def test_enlarged_volume_is_larger_on_the_host(host, volume):
    assert create_home(host).exit_code == 0
    volume.grow(3)
    assert ok(host, f"blockdev --getsize64 {LINK}") == f"{3 * 1024**3}\n"
    assert create_home(host).exit_code == 0


def test_last_task_checks_the_volume(host, volume):
    not_mounted = f"broken: /work is not mounted from volume {VOLUME}\n"
    no_line = f"broken: /etc/fstab does not mount volume {VOLUME} at /work\n"
    assert create_home(host).exit_code == 0
    report = verify(host)
    assert "checks failed" in report
    assert VOLUME not in report
    ok(host, "sed -i '/ \\/work /d' /etc/fstab")
    assert no_line in verify(host)
    ok(host, "umount /work && mount -t tmpfs other /work")
    assert not_mounted in verify(host)
    ok(host, "umount /work")
    assert not_mounted in verify(host)


def test_other_mount_at_the_home_folder_stays(host, volume):
    ok(host, "mkdir /work && mount -t tmpfs other /work")
    assert "other is mounted at /work, not volume" in refused(host)
    assert "unmount" not in ok(host, "findmnt -no SOURCE /work")


def test_own_line_in_fstab_stays(host, volume):
    line = "LABEL=mine /work xfs noauto 0 0"
    ok(host, f"echo '{line}' >>/etc/fstab")
    assert "/etc/fstab has a line of its own" in refused(host)
    assert line in ok(host, "cat /etc/fstab")


def test_volume_that_replaces_another_replaces_its_line_in_fstab(host, volume):
    ok(host, "echo 'UUID=1-2 /work ext4 defaults,nofail,x-code-server-setup 0 2' >>/etc/fstab; cp /etc/fstab /tmp/old")
    assert create_home(host).exit_code == 0
    changed = ok(host, "diff /tmp/old /etc/fstab || true").splitlines()
    assert [line[0] for line in changed if line[0] in "<>"] == ["<", ">"]


def options(host):
    return set(ok(host, "findmnt -no OPTIONS /work").strip().split(","))


@pytest.mark.attack("brings a volume with a program on it that runs as root, or with a device")
def test_programs_and_devices_on_the_volume_do_not_give_root(host, volume):
    ok(host, f"mkfs.ext4 -q {LINK} && mount {LINK} /mnt && install -m 4755 /usr/bin/id /mnt/id && umount /mnt")
    assert create_home(host).exit_code == 0
    assert {"nosuid", "nodev"} <= options(host)
    assert ok(host, "runuser -u coder -- /work/id -un") == "coder\n"


def test_volume_mounted_by_an_earlier_version_is_remounted_safely(host, volume):
    assert create_home(host).exit_code == 0
    ok(host, "sed -i s/nosuid,nodev,// /etc/fstab; umount /work; mount /work")
    assert "nosuid" not in options(host)
    unsafe = "broken: /work is mounted with programs of other users' (suid) or devices on it\n"
    assert unsafe in verify(host)
    assert create_home(host).exit_code == 0
    assert {"nosuid", "nodev"} <= options(host)
    assert ",nosuid,nodev," in ok(host, "grep ' /work ' /etc/fstab")
    assert unsafe not in verify(host)


@pytest.mark.attack("has the setup give away what a link in the home folder's place leads to")
def test_home_folder_that_is_a_link_is_refused(host):
    ok(host, "rm -rf /work; mkdir -p /srv/system; ln -s /srv/system /work")
    assert "/work is a symbolic link to /srv/system: name that as the home folder" in refused(host, volume="")
    assert ok(host, "stat -c %U /srv/system; rm /work") == "root\n"


@pytest.mark.attack("has the setup write, as root, where a link in the home leads that leads nowhere yet")
def test_first_files_of_a_home_do_not_follow_links(host):
    ok(host, "rm -rf /work /srv/new; install -d -o coder /work; runuser -u coder -- ln -s /srv/new /work/.profile")
    assert create_home(host, volume="").exit_code == 0
    assert (
        ok(host, "ls -d /srv/new 2>/dev/null; readlink /work/.profile; stat -c %U /work/.bashrc") == "/srv/new\ncoder\n"
    )
    ok(host, "rm -r /work")


def test_volume_of_another_user_is_an_error(host, volume):
    ok(host, f"mkfs.ext4 -q -E root_owner=4321:4321 {LINK}")
    assert "/work belongs to UNKNOWN (4321), not to coder" in refused(host)


def test_home_folder_without_a_volume_is_on_the_root_disk(host):
    before = ok(host, "stat -c %i /etc/fstab")
    assert create_home(host, volume="", home="/srv/home").stderr == "/srv/home belongs to coder\n"
    assert ok(host, "stat -c %i /etc/fstab") == before


def test_removed_volume_is_not_waited_for_at_boot(host, volume):
    ok(host, "cp /etc/fstab /tmp/old")
    assert create_home(host).exit_code == 0
    assert create_home(host, volume="").stderr == "/work belongs to coder\n"
    assert "x-code-server-setup" in ok(host, "cat /etc/fstab"), "it is still mounted"
    ok(host, "umount /work")
    assert create_home(host, volume="").exit_code == 0
    ok(host, "cmp /etc/fstab /tmp/old")


def test_missing_volume_is_reported_after_a_wait(host):
    waiting = TASK.replace("SECONDS < 60", "SECONDS < 1")
    result = run(host, waiting, USER="coder", HOME_DIR="/work", DATA_VOLUME="vol-00000000")
    assert result.exit_code == 1
    assert result.stderr.startswith("volume vol-00000000 did not appear on this host")


def test_light_host_has_the_same_disks():
    with disk() as volume, disk(volume_id="vol-0aaaaaaaa") as other, light_host("i-light") as host:
        host.attach_volume(volume)
        ok(host, f"mkfs.ext4 -q {LINK} && echo '{LINK} /mnt ext4 defaults,nofail 0 2' >>/etc/fstab && mount --all")
        ok(host, "echo kept >/mnt/file")
        ok(host, "mount -o remount,nosuid,nodev /mnt && grep ' /mnt ext4 rw,nosuid,nodev' /proc/mounts")
        host.attach_volume(other)
        assert not host.detach_volume(volume), "it is mounted"
        host.reboot()
        assert ok(host, "cat /mnt/file; umount /mnt") == "kept\n"
        assert host.detach_volume(volume)
        assert ok(host, "ls /dev/nvme*") == "/dev/nvme2n1\n"
    assert devices(other) == []


class TestDevices:
    def test_volume_waits_for_the_host_that_had_it(self):
        with disk() as volume, booted("i-waits") as second:
            with host_with("trixie", volume, name="i-had-it") as first:
                assert create_home(first).exit_code == 0
                assert len(devices(volume)) == 1
                leaving = threading.Thread(target=first.destroy)
                leaving.start()
                second.attach_volume(volume)
                leaving.join()
            assert len(devices(volume)) == 1
            assert ok(second, f"blkid -p -s TYPE -o value {LINK}") == "ext4\n"
        assert devices(volume) == []

    def test_missing_loop_devices_are_reported(self, monkeypatch, tmp_path):
        monkeypatch.setattr("rehearsal.hosts.loop._CONTROL", tmp_path / "loop-control")
        with disk() as volume:
            for _ in range(2):
                with pytest.raises(HostError, match="no loop device"):
                    volume.plug()

    def test_loop_device_is_released_with_its_last_user(self, tmp_path):
        path = tmp_path / "data"
        path.touch()
        os.truncate(path, 1024**2)
        with path.open("r+b") as file:
            device = LoopDevice(file.fileno())
        listed = Path(f"/sys/block/{Path(device.path).name}/loop/backing_file")
        assert listed.read_text() == f"{path}\n"
        user = Path(device.path).open("rb")  # noqa: SIM115 # closed by the timer
        threading.Timer(0.2, user.close).start()
        device.close()
        assert not listed.exists() or listed.read_text() != f"{path}\n"
        assert user.closed
