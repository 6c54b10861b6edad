"""What can be done to a host from outside, and what becomes of the commands on it."""

import json
import urllib.error
from threading import Thread

import pytest

from tests.functional.rehearsal_support import ended, online, statuses
from tests.functional.support import eventually, refusal

WORKER_GONE = "document process failed unexpectedly: document worker timed out , "


@pytest.fixture
def do(control, instance):
    """Does something to the instance's host: `do("reboot")`."""
    return lambda what, **more: control("host", {"instance_id": instance, "do": what, **more})


@pytest.fixture
def shown(ssm):
    """The status of a command's one invocation and those of its steps."""

    def look(command_id):
        found = ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
        return (found[0]["Status"], statuses(found[0])) if found else ("", {})

    return look


@pytest.fixture
def sent(ssm, instance, document):
    """Sends a command of two steps, of which the first waits; its id."""
    name = document(("first", ["out 1", "wait"]), ("second", ["out 2"]))
    return ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]


@pytest.fixture
def machine(machines, instance):
    return machines.made[instance]


def ping(ssm):
    (told,) = ssm.describe_instance_information()["InstanceInformationList"]
    return told["PingStatus"]


class TestAgentOutOfReach:
    def test_it_is_noticed_after_a_while(self, ssm, do, control):
        do("lose-agent")
        assert ping(ssm) == "Online"
        control("clock", {"advance_seconds": 301})
        assert ping(ssm) == "ConnectionLost"
        lost = {"Key": "PingStatus", "Values": ["ConnectionLost"]}
        before = ssm.describe_instance_information(Filters=[lost])["InstanceInformationList"][0]["LastPingDateTime"]
        assert (
            ssm.describe_instance_information(Filters=[lost])["InstanceInformationList"][0]["LastPingDateTime"]
            == before
        ), "it is not heard of any more"
        do("restore-agent")
        assert ping(ssm) == "Online"
        assert ssm.describe_instance_information(Filters=[lost])["InstanceInformationList"] == []

    def test_or_at_once(self, ssm, do):
        do("lose-agent", noticed_after_seconds=0)
        assert ping(ssm) == "ConnectionLost"

    def test_a_command_waits_for_it(self, ssm, instance, do, shown, document, machine):
        do("lose-agent", noticed_after_seconds=0)
        name = document(("only", ["out x"]))
        command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
        eventually(lambda: shown(command_id) == ("Delayed", {"only": "Pending"}))
        assert machine.calls == []
        do("restore-agent")
        assert ended(ssm, command_id)[0]["Status"] == "Success"

    def test_what_runs_goes_on_and_is_told_later(self, ssm, do, shown, sent, machine):
        eventually(lambda: shown(sent)[1].get("first") == "InProgress")
        do("lose-agent")
        machine.proceed.set()
        eventually(lambda: len(machine.calls) == 2)
        assert shown(sent) == ("InProgress", {"first": "InProgress", "second": "Pending"})
        do("restore-agent")
        eventually(lambda: shown(sent) == ("Success", {"first": "Success", "second": "Success"}))

    def test_it_hears_of_a_cancel_when_it_is_back(self, ssm, do, shown, sent, machine):
        eventually(lambda: shown(sent)[1].get("first") == "InProgress")
        do("lose-agent")
        ssm.cancel_command(CommandId=sent)
        assert shown(sent)[0] == "Cancelling"
        assert ssm.list_commands(CommandId=sent)["Commands"][0]["Status"] == "Cancelling"
        do("restore-agent")
        eventually(lambda: shown(sent) == ("Cancelled", {"first": "Cancelled", "second": "Cancelled"}))

    def test_what_it_tells_late_does_not_take_a_cancel_back(self, ssm, do, shown, sent, server):
        eventually(lambda: shown(sent)[1].get("first") == "InProgress")
        do("lose-agent")
        (command,) = server.world.commands.commands("sa-east-1")
        (invocation,) = command.invocations
        invocation.unsent = invocation.state  # as after a step that began meanwhile
        ssm.cancel_command(CommandId=sent)
        do("restore-agent")
        eventually(lambda: shown(sent)[0] == "Cancelled")
        statuses_seen = [seen.status for _, seen in invocation.history]
        assert "InProgress" not in statuses_seen[statuses_seen.index("Cancelling") :]

    def test_a_command_that_waits_can_be_cancelled(self, ssm, do, shown, instance, document, machine):
        do("lose-agent")
        name = document(("only", ["out x"]))
        command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
        eventually(lambda: shown(command_id)[0] == "Delayed")
        ssm.cancel_command(CommandId=command_id)
        assert shown(command_id) == ("Cancelled", {"only": "Cancelled"})
        do("restore-agent")
        assert machine.calls == []


class TestReboot:
    def test_under_a_command_fails_it_by_its_first_step(self, ssm, instance, do, shown, document, machine):
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

    def test_nothing_else_is_lost(self, ssm, instance, do, machine):
        do("reboot")
        send = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["out x"]}}
        command_id = ssm.send_command(InstanceIds=[instance], **send)["Command"]["CommandId"]
        assert ended(ssm, command_id)[0]["Status"] == "Success"
        assert online(ssm) == {instance}

    def test_a_command_that_arrives_meanwhile_runs_afterwards(self, ssm, instance, do, document, machine, control):
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

    def test_that_the_step_asked_for_runs_it_again(self, ssm, instance, document, machine):
        machine.exit_codes = [194, 0]
        name = document(("first", ["next"]), ("second", ["out 2"]))
        command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
        (done,) = ended(ssm, command_id)
        assert statuses(done) == {"first": "Success", "second": "Success"}
        assert (len(machine.calls), machine.reboots) == (3, 1)

    def test_that_another_command_asked_for_interrupts_this_one(self, ssm, instance, document, machine, sent, shown):
        eventually(lambda: shown(sent)[1].get("first") == "InProgress")
        machine.exit_codes = [194, 0]
        name = document(("only", ["next"]), name="Reboots")
        command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
        assert ended(ssm, command_id)[0]["Status"] == "Success"
        assert ended(ssm, sent)[0]["CommandPlugins"][0]["Output"].startswith(WORKER_GONE)


class TestBreak:
    def test_the_instance_stays_and_nothing_more_is_heard(self, ec2, ssm, instance, do, shown, sent, control, machine):
        eventually(lambda: shown(sent)[1].get("first") == "InProgress")
        assert do("break")["host"] == "broken, as asked for"
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

    def test_there_is_no_way_back(self, do):
        do("break")
        for what in ("reboot", "restore-agent", "break"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                do(what)
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
def test_what_makes_no_sense_is_refused(control, instance, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        control("host", {"instance_id": instance, **body} if body else body)
    assert refused.value.code == 400
    assert json.load(refused.value)["error"]


def test_an_instance_without_a_registered_agent_takes_no_commands(ssm, launch, machines, control):
    machines.prepare = lambda machine: machine.may_boot.clear()
    (instance_id,) = launch()
    send = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["out x"]}}
    assert refusal(ssm.send_command, InstanceIds=[instance_id], **send) == "InvalidInstanceId"
