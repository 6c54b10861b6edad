"""Hosts and commands of an AWS that is kept in a folder are resumed by the next rehearsal."""

import functools
import json
import os
import signal
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from rehearsal.hosts import cgroups, disk, light
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.requirements import missing
from tests.functional.hosts_support import require, run, traces, up
from tests.functional.rehearsal_support import ended, statuses
from tests.functional.staying import PROJECT, command
from tests.functional.support import eventually

WORKER_GONE = "document process failed unexpectedly: document worker timed out , "
DATA = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": False, "VolumeType": "gp3"}}


def is_running(aws, instance_id):
    return aws.host(instance_id) == "running"


def test_light_host_resumes_with_its_files_and_volumes(serve):
    first = serve(host_suite="light")
    instance_id = first.launch_managed(BlockDeviceMappings=[DATA])
    disk = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_*"
    first.shell(instance_id, f"mkfs.ext4 -q {disk}", f"echo {disk} /data ext4 defaults 0 0 >>/etc/fstab", "mkdir /data")
    command_id = first.send(
        instance_id, "mount /data && echo on the volume >/data/file", "echo kept >/etc/file; rm /etc/issue; pwd"
    )
    assert first.result(instance_id, command_id)["StandardOutputContent"] == "/usr/bin\n"
    first.shell(instance_id, "touch /tmp/file /run/file; nohup sleep 1000 >/dev/null 2>&1 &")
    before, volumes = first.instance(instance_id), first.ec2.describe_volumes()["Volumes"]
    first.end(signal.SIGKILL)
    other = command(first.folder, "--host-suite", "trixie")
    done = subprocess.run(other, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, "has hosts of the suite light, not trixie" in done.stderr) == (2, True)
    second = serve(host_suite=None)
    second.await_online(instance_id)
    assert second.host(instance_id) == "running (light)"
    assert second.instance(instance_id) == before
    assert second.ec2.describe_volumes()["Volumes"] == volumes
    look = "cat /etc/file /data/file; ls /etc/issue /tmp /run/file; ps -ef | grep -c '[s]leep 1000'"
    assert second.shell(instance_id, f"{look}; true") == "kept\non the volume\n/tmp:\n0\n"
    assert second.result(instance_id, command_id)["StandardOutputContent"] == "/usr/bin\n"
    assert command_id in [sent["CommandId"] for sent in second.ssm.list_commands()["Commands"]]


def test_files_of_a_terminated_instance_are_removed(serve):
    first = serve(host_suite="light")
    instance_id = first.launch_managed(BlockDeviceMappings=[DATA])
    kept = first.folder / "hosts"
    assert os.listdir(kept) == [instance_id]  # noqa: PTH208
    first.ec2.terminate_instances(InstanceIds=[instance_id])
    first.end(signal.SIGTERM)
    assert list(kept.iterdir()) == []
    second = serve(host_suite=None)
    assert second.state_of(instance_id) == "terminated"
    assert second.control("status")["hosts"] == {}
    (volume,) = second.ec2.describe_volumes()["Volumes"]
    assert volume["State"] == "available"
    second.ec2.delete_volume(VolumeId=volume["VolumeId"])
    assert list((first.folder / "volumes").iterdir()) == []
    managed = {"IamInstanceProfile": {"Name": "managed"}}
    other = second.launch(ClientToken="other", **managed)["InstanceId"]
    second.await_online(other)
    second.end()
    (kept / other).rename(kept / f"{other}.gone")
    third = serve(host_suite=None)
    assert third.state_of(other) == "terminated", "it was terminating"
    assert list(kept.iterdir()) == []
    third.await_online(third.launch(ClientToken="third", **managed)["InstanceId"])
    third.control("reset", {})
    assert list(kept.iterdir()) == []


def test_instances_of_a_block_that_ended_meanwhile_are_terminated(serve):
    first = serve("--speed", "1", host_suite="light")
    first.control("market", {"payment_seconds": 0})
    ask = {"InstanceType": "trn2.3xlarge", "InstanceCount": 1, "CapacityDurationHours": 24}
    offer = first.ec2.describe_capacity_block_offerings(**ask)["CapacityBlockOfferings"][0]
    bought = first.ec2.purchase_capacity_block(
        CapacityBlockOfferingId=offer["CapacityBlockOfferingId"], InstancePlatform="Linux/UNIX"
    )["CapacityReservation"]
    first.control("clock", {"to": (bought["StartDate"] + timedelta(hours=1)).isoformat()})
    target = {"CapacityReservationTarget": {"CapacityReservationId": bought["CapacityReservationId"]}}
    instance_id = first.launch(
        InstanceType="trn2.3xlarge",
        InstanceMarketOptions={"MarketType": "capacity-block"},
        CapacityReservationSpecification=target,
    )["InstanceId"]
    eventually(lambda: first.host(instance_id) == "running (light)")
    first.end(signal.SIGTERM)
    second = serve("--clock", bought["EndDate"].isoformat(), host_suite=None)
    assert second.state_of(instance_id) == "terminated"
    assert second.control("status")["hosts"] == {}
    assert list((first.folder / "hosts").iterdir()) == []


def test_broken_host_stays_broken(serve):
    first = serve(host_suite="light")
    instance_id = first.launch_managed()
    first.control("host", {"instance_id": instance_id, "do": "break"})
    first.end()
    second = serve(host_suite=None)
    assert second.host(instance_id) == "broken, as requested"
    second.control("clock", {"advance_seconds": 301})
    (information,) = second.ssm.describe_instance_information()["InstanceInformationList"]
    assert (information["InstanceId"], information["PingStatus"], information["PlatformName"]) == (
        instance_id,
        "ConnectionLost",
        "Debian GNU/Linux",
    )
    second.ec2.terminate_instances(InstanceIds=[instance_id])
    eventually(lambda: list((first.folder / "hosts").iterdir()) == [])


def test_running_command_ends_as_after_a_reboot(serve):
    first = serve(host_suite="light")
    instance_id = first.launch_managed()
    steps = [("first", ["echo one"]), ("second", ["sleep 100"])]
    content = {
        "schemaVersion": "2.2",
        "mainSteps": [
            {"action": "aws:runShellScript", "name": name, "inputs": {"runCommand": lines}} for name, lines in steps
        ],
    }
    first.ssm.create_document(Name="Steps", DocumentType="Command", Content=json.dumps(content))
    command_id = first.ssm.send_command(InstanceIds=[instance_id], DocumentName="Steps")["Command"]["CommandId"]

    def seen(aws):
        found = aws.ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
        return statuses(found[0]) if found else {}

    eventually(lambda: seen(first) == {"first": "Success", "second": "InProgress"})
    first.end(signal.SIGTERM)
    second = serve(host_suite=None)
    assert seen(second) == {"first": "Success", "second": "InProgress"}
    (done,) = ended(second.ssm, command_id)
    assert (done["Status"], statuses(done)) == ("Failed", {"first": "Failed", "second": "InProgress"})
    assert done["CommandPlugins"][0]["Output"].startswith(WORKER_GONE)
    assert second.ssm.list_commands(CommandId=command_id)["Commands"][0]["Status"] == "Failed"
    assert second.shell(instance_id, "echo more") == "more\n"


def test_pending_commands_and_reports_are_delivered_later_or_expire(serve):
    first = serve(host_suite="light")
    instance_id = first.launch_managed()
    unreported = first.send(instance_id, "sleep 2", "echo unreported")
    eventually(lambda: first.ssm.list_commands(CommandId=unreported)["Commands"][0]["Status"] == "InProgress")
    first.control("host", {"instance_id": instance_id, "do": "lose-agent"})
    late = first.send(instance_id, "echo late")
    soon = first.ssm.send_command(
        InstanceIds=[instance_id],
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": ["echo soon"], "executionTimeout": ["5"]},
        TimeoutSeconds=30,
    )["Command"]["CommandId"]
    dropped = first.send(instance_id, "echo dropped")
    first.ssm.cancel_command(CommandId=dropped)
    report = first.folder / "commands" / unreported / f"{instance_id}.json"
    eventually(lambda: (json.loads(report.read_text())["unsent"] or {}).get("status") == "Success")
    first.end()
    second = serve(host_suite=None)
    eventually(lambda: second.host(instance_id) == "running (light)")
    second.control("clock", {"advance_seconds": 60})
    listed = {sent["CommandId"]: sent for sent in second.ssm.list_commands()["Commands"]}
    assert listed[soon]["StatusDetails"] == "DeliveryTimedOut"
    assert listed[dropped]["Status"] == "Cancelled"
    assert listed[late]["Status"] == "Pending", "the agent is still lost"
    second.control("host", {"instance_id": instance_id, "do": "restore-agent"})
    assert second.result(instance_id, late)["StandardOutputContent"] == "late\n"
    assert second.result(instance_id, unreported)["StandardOutputContent"] == "unreported\n", (
        "the agent has kept the report"
    )


def test_host_over_another_build_of_its_image_fails_and_the_rest_is_restored(serve):
    first = serve(host_suite="light")
    instance_id = first.launch_managed()
    first.end(signal.SIGTERM)
    record = first.folder / "hosts" / instance_id / "files" / "image.json"
    before = record.read_text()
    record.write_text(json.dumps({"suite": "light", "image": "rootfs-trixie-0 (0)"}))
    second = serve(host_suite=None)
    eventually(lambda: "rootfs-trixie-0 (0)" in second.host(instance_id))
    assert second.host(instance_id).startswith("failed: ")
    assert "Terminate the instance" in second.host(instance_id)
    assert second.state_of(instance_id) == "running"
    second.end(signal.SIGTERM)
    record.write_text(before)
    serve(host_suite=None).await_online(instance_id)


def test_folder_that_cannot_hold_files_of_hosts_is_refused(tmp_path):
    words = command(tmp_path / "merged/aws", "--host-suite", "light")
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    layers = ",".join(f"{name}dir={tmp_path / name}" for name in ("lower", "upper", "work"))
    script = f'mount -t overlay -o "{layers}" overlay "{tmp_path}/merged" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *words],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "The files of hosts can't be kept in" in done.stderr
    assert "Choose a folder on" in done.stderr
    assert list((tmp_path / "merged").iterdir()) == []


def test_files_are_used_by_one_host_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "_RELEASE_TIMEOUT", 0.2)
    first, second = (light.factory()("i-files", region="sa-east-1", folder=tmp_path / "files") for _ in range(2))
    with up(first):
        run(first, "echo kept >/etc/file")
        with pytest.raises(HostError, match="an earlier host still used them"):
            second.boot()
    with up(second):
        assert run(second, "cat /etc/file").stdout == "kept\n"


def test_host_that_never_booted_starts_with_no_files(tmp_path):
    folder = tmp_path / "files"
    (folder / "upper/etc").mkdir(parents=True)
    (folder / "upper/etc/half").write_text("written")
    with up(light.factory()("i-files", region="sa-east-1", folder=folder)) as host:
        assert run(host, "ls /etc/half").exit_code != 0


UNIT = ["[Unit]", "Description=Own", "[Service]", "ExecStart=/bin/sleep 1000", "[Install]"]


def test_booted_host_boots_again_with_its_services(serve):
    require(missing("trixie"))
    first = serve("--booted", "1", host_suite="trixie")
    instance_id = first.launch_managed()
    unit = "\\n".join([*UNIT, "WantedBy=multi-user.target", ""])
    command_id = first.send(
        instance_id,
        f"printf '{unit}' >/etc/systemd/system/own.service && systemctl enable --now own 2>/dev/null",
        "echo kept >/etc/file; cat /etc/machine-id",
    )
    identity = first.result(instance_id, command_id)["StandardOutputContent"]
    first.end(signal.SIGTERM)
    assert_nothing_is_left(first)
    second = serve("--booted", "0", host_suite=None)
    look = "systemctl is-active own; cat /etc/file /etc/machine-id"
    trust = "curl -s -o /dev/null -w '%{http_code}' https://github.com/"
    for aws in (second, None):
        again = aws or serve("--booted", "0", host_suite=None)
        again.await_online(instance_id)
        eventually(functools.partial(is_running, again, instance_id))
        assert again.shell(instance_id, look, trust) == f"active\nkept\n{identity}404"
        assert again.result(instance_id, command_id)["StandardOutputContent"] == identity
        again.end(signal.SIGKILL)
    eventually(lambda: not traces(again.process.pid).processes)
    cgroups.remove_orphans()
    assert_nothing_is_left(again)


def assert_nothing_is_left(aws):
    left = traces(aws.process.pid)
    assert (left.processes, left.cgroups) == ((), ())
    assert [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(aws.folder) in line] == []
