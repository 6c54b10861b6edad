"""Actions on a host from outside, and their effect on its commands."""

import json
import urllib.error
from threading import Thread

import pytest

from tests.functional.rehearsal_support import ended, online, statuses
from tests.functional.support import eventually, refusal

WORKER_GONE = "document process failed unexpectedly: document worker timed out , "


@pytest.fixture
def do(control, instance):
    """Carries out an action on the instance's host: `do("reboot")`."""
    return lambda action, **options: control("host", {"instance_id": instance, "do": action, **options})


@pytest.fixture
def shown(ssm):
    """The status of a command's only invocation, and those of its steps."""

    def look(command_id):
        found = ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
        return (found[0]["Status"], statuses(found[0])) if found else ("", {})

    return look


@pytest.fixture
def sent(ssm, instance, document):
    """Sends a command of two steps, the first of which waits; returns its id."""
    name = document(("first", ["out 1", "wait"]), ("second", ["out 2"]))
    return ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]


@pytest.fixture
def machine(machines, instance):
    return machines.made[instance]


def ping(ssm):
    (information,) = ssm.describe_instance_information()["InstanceInformationList"]
    return information["PingStatus"]


class TestLostAgent:
    def test_loss_is_noticed_at_the_next_ping(self, ssm, do, control):
        do("lose-agent")
        assert ping(ssm) == "Online"
        control("clock", {"advance_seconds": 301})
        assert ping(ssm) == "ConnectionLost"
        lost = {"Key": "PingStatus", "Values": ["ConnectionLost"]}
        before = ssm.describe_instance_information(Filters=[lost])["InstanceInformationList"][0]["LastPingDateTime"]
        assert (
            ssm.describe_instance_information(Filters=[lost])["InstanceInformationList"][0]["LastPingDateTime"]
            == before
        ), "the agent no longer pings"
        do("restore-agent")
        assert ping(ssm) == "Online"
        assert ssm.describe_instance_information(Filters=[lost])["InstanceInformationList"] == []

    def test_loss_can_be_noticed_at_once(self, ssm, do):
        do("lose-agent", noticed_after_seconds=0)
        assert ping(ssm) == "ConnectionLost"

    def test_command_waits_for_the_agent(self, ssm, instance, do, shown, document, machine):
        do("lose-agent", noticed_after_seconds=0)
        name = document(("only", ["out x"]))
        command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
        eventually(lambda: shown(command_id) == ("Delayed", {"only": "Pending"}))
        assert machine.calls == []
        do("restore-agent")
        assert ended(ssm, command_id)[0]["Status"] == "Success"

    def test_running_command_continues_and_is_reported_later(self, ssm, do, shown, sent, machine):
        eventually(lambda: shown(sent)[1].get("first") == "InProgress")
        do("lose-agent")
        machine.proceed.set()
        eventually(lambda: len(machine.calls) == 2)
        assert shown(sent) == ("InProgress", {"first": "InProgress", "second": "Pending"})
        do("restore-agent")
        eventually(lambda: shown(sent) == ("Success", {"first": "Success", "second": "Success"}))

    def test_cancel_reaches_the_agent_when_it_is_back(self, ssm, do, shown, sent, machine):
        eventually(lambda: shown(sent)[1].get("first") == "InProgress")
        do("lose-agent")
        ssm.cancel_command(CommandId=sent)
        assert shown(sent)[0] == "Cancelling"
        assert ssm.list_commands(CommandId=sent)["Commands"][0]["Status"] == "Cancelling"
        do("restore-agent")
        eventually(lambda: shown(sent) == ("Cancelled", {"first": "Cancelled", "second": "Cancelled"}))

    def test_late_report_does_not_undo_a_cancel(self, ssm, do, shown, sent, server):
        eventually(lambda: shown(sent)[1].get("first") == "InProgress")
        do("lose-agent")
        (command,) = server.world.commands.commands("sa-east-1")
        (invocation,) = command.invocations
        invocation.unsent = invocation.state  # as after a step that has started meanwhile
        ssm.cancel_command(CommandId=sent)
        do("restore-agent")
        eventually(lambda: shown(sent)[0] == "Cancelled")
        statuses_seen = [seen.status for _, seen in invocation.history]
        assert "InProgress" not in statuses_seen[statuses_seen.index("Cancelling") :]

    def test_waiting_command_can_be_cancelled(self, ssm, do, shown, instance, document, machine):
        do("lose-agent")
        name = document(("only", ["out x"]))
        command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
        eventually(lambda: shown(command_id)[0] == "Delayed")
        ssm.cancel_command(CommandId=command_id)
        assert shown(command_id) == ("Cancelled", {"only": "Cancelled"})
        do("restore-agent")
        assert machine.calls == []


class TestReboot:
    def test_reboot_during_a_command_fails_its_first_step(self, ssm, instance, do, shown, document, machine):
        name = document(("first", ["out 1"]), ("second", ["wait"]), ("third", ["out 3"]))
        command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
        eventually(lambda: shown(command_id)[1].get("second") == "InProgress")
        assert do("reboot") == {"instance_id": instance, "host": "running"}
        (done,) = ended(ssm, command_id)
        assert done["Status"] == "Failed"
        assert statuses(done) == {"first": "Failed", "second": "InProgress", "third": "Pending"}
        first = done["CommandPlugins"][0]
        assert first["Output"].startswith(WORKER_GONE)
        assert first["ResponseCode"] == 1
        assert (len(machine.calls), machine.reboots) == (2, 1)

    def test_host_accepts_commands_after_a_reboot(self, ssm, instance, do, machine):
        do("reboot")
        send = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["out x"]}}
        command_id = ssm.send_command(InstanceIds=[instance], **send)["Command"]["CommandId"]
        assert ended(ssm, command_id)[0]["Status"] == "Success"
        assert online(ssm) == {instance}

    def test_command_sent_during_a_reboot_runs_afterwards(self, ssm, instance, do, document, machine, control):
        machine.may_boot.clear()
        rebooting = Thread(target=do, args=["reboot"])
        rebooting.start()
        eventually(lambda: control("status")["hosts"] == {instance: "rebooting"})
        name = document(("only", ["out x"]))
        command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
        eventually(lambda: ssm.list_commands(CommandId=command_id)["Commands"][0]["StatusDetails"] == "Delayed")
        assert machine.calls == []
        machine.may_boot.set()
        rebooting.join()
        assert ended(ssm, command_id)[0]["Status"] == "Success"

    def test_step_that_requests_a_reboot_runs_again(self, ssm, instance, document, machine):
        machine.exit_codes = [194, 0]
        name = document(("first", ["next"]), ("second", ["out 2"]))
        command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
        (done,) = ended(ssm, command_id)
        assert statuses(done) == {"first": "Success", "second": "Success"}
        assert (len(machine.calls), machine.reboots) == (3, 1)

    def test_reboot_requested_by_a_command_interrupts_another(self, ssm, instance, document, machine, sent, shown):
        eventually(lambda: shown(sent)[1].get("first") == "InProgress")
        machine.exit_codes = [194, 0]
        name = document(("only", ["next"]), name="Reboots")
        command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
        assert ended(ssm, command_id)[0]["Status"] == "Success"
        assert ended(ssm, sent)[0]["CommandPlugins"][0]["Output"].startswith(WORKER_GONE)


class TestBreak:
    def test_instance_stays_and_its_agent_is_lost(self, ec2, ssm, instance, do, shown, sent, control, machine):
        eventually(lambda: shown(sent)[1].get("first") == "InProgress")
        assert do("break")["host"] == "broken, as requested"
        assert machine.destroyed
        control("clock", {"advance_seconds": 301})
        assert ping(ssm) == "ConnectionLost"
        (found,) = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"]
        assert found["State"]["Name"] == "running"
        assert shown(sent)[0] == "InProgress"
        control("clock", {"advance_seconds": 3 * 3600})
        assert shown(sent)[0] == "TimedOut"
        ec2.terminate_instances(InstanceIds=[instance])
        assert control("status")["hosts"] == {}

    def test_broken_host_cannot_be_restored(self, do):
        do("break")
        for action in ("reboot", "restore-agent", "break"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                do(action)
            assert refused.value.code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instance_id": "i-12345678", "do": "reboot"},
        {"instance_id": None, "do": "reboot"},
        {"do": "sing"},
        {"do": "reboot", "noticed_after_seconds": 1},
        {"do": "lose-agent", "noticed_after_seconds": -1},
    ],
)
def test_invalid_request_is_refused(control, instance, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        control("host", {"instance_id": instance, **body} if body else body)
    assert refused.value.code == 400
    assert json.load(refused.value)["error"]


def test_instance_without_a_registered_agent_accepts_no_commands(ssm, launch, machines, control):
    machines.prepare = lambda machine: machine.may_boot.clear()
    (instance_id,) = launch()
    send = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["out x"]}}
    assert refusal(ssm.send_command, InstanceIds=[instance_id], **send) == "InvalidInstanceId"
