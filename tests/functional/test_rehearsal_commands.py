import json
import time

import pytest

from tests.functional.rehearsal_support import ended, online, run, statuses
from tests.functional.support import eventually, refusal


def test_an_instance_is_online_once_its_host_has_booted(ssm, launch, machines):
    machines.prepare = lambda machine: machine.may_boot.clear()
    (instance_id,) = launch()
    assert online(ssm) == set()
    machines.made[instance_id].may_boot.set()
    eventually(lambda: online(ssm) == {instance_id})
    (information,) = ssm.describe_instance_information()["InstanceInformationList"]
    assert (information["PingStatus"], information["PlatformName"]) == ("Online", "Debian GNU/Linux")


def test_an_instance_without_ssm_permissions_never_registers(ssm, launch, profile, control):
    for role in ("", profile("bare"), profile("other", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")):
        launch(role=role)
    eventually(lambda: set(control("status")["hosts"].values()) == {"running"})
    assert online(ssm) == set()


def test_any_policy_with_the_permissions_lets_an_instance_register(client, ssm, launch, profile):
    role = profile("inline")
    actions = ["ssm:UpdateInstanceInformation", "ssmmessages:*"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    client("iam").put_role_policy(RoleName=role, PolicyName="agent", PolicyDocument=json.dumps(policy))
    (instance_id,) = launch(role=role)
    eventually(lambda: online(ssm) == {instance_id})


@pytest.mark.parametrize(
    ("key", "value", "is_found"),
    [
        ("SourceTypes", "AWS::EC2::Instance", True),
        ("SourceTypes", "AWS::IoT::Thing", False),
        ("SourceIds", "i-0123456789abcdef0", False),
        ("ActivationIds", "0" * 36, False),
        ("AgentVersion", "1.0", False),
        ("ResourceType", "EC2Instance", True),
    ],
)
def test_managed_instances_can_be_filtered(ssm, instance, key, value, is_found):
    found = ssm.describe_instance_information(Filters=[{"Key": key, "Values": [value]}])["InstanceInformationList"]
    assert bool(found) == is_found


def test_invalid_filters_are_refused(ssm, rehearsal_endpoint):
    ids = {"Key": "InstanceIds", "Values": ["i-0123456789abcdef0"]}
    for code, *filters in (
        ("InvalidFilterKey", {"Key": "Colour", "Values": ["blue"]}),
        ("UnsupportedOperation", {"Key": "AssociationStatus", "Values": ["Success"]}),
        ("ValidationException", ids, {"Key": "tag:a", "Values": ["b"]}),
    ):
        assert refusal(ssm.describe_instance_information, Filters=filters) == code
    legacy = [{"key": "PingStatus", "valueSet": ["Online"]}]
    both = {"Filters": [ids], "InstanceInformationFilterList": legacy}
    assert refusal(ssm.describe_instance_information, **both) == "ValidationException"


def test_a_terminated_instance_is_not_managed(ec2, ssm, instance):
    ec2.terminate_instances(InstanceIds=[instance])
    assert online(ssm) == set()
    send = {"InstanceIds": [instance], "DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["out x"]}}
    assert refusal(ssm.send_command, **send) == "InvalidInstanceId"


def test_commands_run_on_the_host_as_the_agent_runs_them(ssm, instance, machines):
    done = run(ssm, instance, "AWS-RunShellScript", Parameters={"commands": ["out one", "err two"]})
    (call,) = machines.made[instance].calls
    assert call.text == "out one\nerr two\n"
    assert call.environment == {
        "AWS_SSM_INSTANCE_ID": instance,
        "AWS_SSM_REGION_NAME": "sa-east-1",
        "SSM_COMMAND_ID": done["CommandId"],
    }
    assert (call.timeout, call.working_directory) == (3600, None)
    assert call.path.endswith(f"/{done['CommandId']}/awsrunShellScript/0.awsrunShellScript/_script.sh")
    got = ssm.get_command_invocation(CommandId=done["CommandId"], InstanceId=instance)
    assert (got["Status"], got["ResponseCode"], got["PluginName"]) == ("Success", 0, "aws:runShellScript")
    assert done["CommandPlugins"][0]["Name"] == "aws:runShellScript"
    assert (got["StandardOutputContent"], got["StandardErrorContent"]) == ("one\n", "two\n")
    assert done["CommandPlugins"][0]["Output"] == "one\n\n----------ERROR-------\ntwo\n"


def test_statuses_change_in_order_and_output_appears_when_a_step_ends(ssm, instance, document, machines, control):
    control("latency", {"visible": 1, "delivery": 3})  # each status lasts long enough even on a busy machine
    name = document(("first", ["out early", "wait"]), ("second", ["out late"]))
    command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
    ask = {"CommandId": command_id, "InstanceId": instance, "PluginName": "first"}
    assert refusal(ssm.get_command_invocation, **ask) == "InvocationDoesNotExist"
    assert ssm.list_command_invocations(CommandId=command_id)["CommandInvocations"] == []
    seen: list[str] = []

    def in_progress() -> bool:
        found = ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
        seen.extend(statuses(invocation)["first"] for invocation in found)
        return seen[-1:] == ["InProgress"]

    eventually(in_progress)
    assert seen[0] == "Pending"
    got = ssm.get_command_invocation(**ask)
    assert (got["Status"], got["StandardOutputContent"], got["ResponseCode"]) == ("InProgress", "", -1)
    later = ssm.get_command_invocation(**{**ask, "PluginName": "second"})
    assert (later["Status"], later["ResponseCode"]) == ("Pending", -1)
    machines.made[instance].proceed.set()
    (done,) = ended(ssm, command_id)
    assert statuses(done) == {"first": "Success", "second": "Success"}
    assert ssm.get_command_invocation(**ask)["StandardOutputContent"] == "early\n"


def test_with_several_steps_the_plugin_name_is_required(ssm, instance, document):
    done = run(ssm, instance, document(("first", ["out 1"]), ("second", ["out 2"])))
    ask = {"CommandId": done["CommandId"], "InstanceId": instance}
    assert refusal(ssm.get_command_invocation, **ask) == "InvalidPluginName"
    assert refusal(ssm.get_command_invocation, **ask, PluginName="third") == "InvalidPluginName"
    assert ssm.get_command_invocation(**ask, PluginName="second")["StandardOutputContent"] == "2\n"


def test_steps_after_a_failed_step_with_on_failure_exit_are_skipped_as_successes(ssm, instance, document, machines):
    name = document(("fails", ["err no", "exit 3"], {"onFailure": "exit"}), ("never", ["out never"]))
    done = run(ssm, instance, name)
    assert done["Status"] == "Failed"
    assert statuses(done) == {"fails": "Failed", "never": "Success"}
    fails, never = done["CommandPlugins"]
    assert (fails["ResponseCode"], never["ResponseCode"]) == (3, 0)
    assert "skipped due to prior step with an exit condition" in never["Output"]
    assert len(machines.made[instance].calls) == 1
    assert fails["Output"] == "\n----------ERROR-------\nno\nfailed to run commands: exit status 3"
    got = ssm.get_command_invocation(CommandId=done["CommandId"], InstanceId=instance, PluginName="fails")
    assert got["StandardErrorContent"].startswith(
        "no\nfailed to run commands: exit status 3\nStep was found to have on"
    )
    got = ssm.get_command_invocation(CommandId=done["CommandId"], InstanceId=instance, PluginName="never")
    assert (got["Status"], got["StandardOutputContent"]) == ("Success", "")


def test_without_on_failure_the_next_step_runs(ssm, instance, document):
    done = run(ssm, instance, document(("bad", ["exit 1"]), ("good", ["out on"])))
    assert done["Status"] == "Failed"
    assert done["CommandPlugins"][1]["Output"] == "on\n"


def test_after_a_step_that_times_out_the_next_one_runs(ssm, instance, document, machines):
    name = document(("slow", ["wait"], {"onFailure": "exit", "timeoutSeconds": "5"}), ("next", ["out on"]))
    command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
    (done,) = ended(ssm, command_id)
    assert (done["Status"], done["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")
    slow, following = done["CommandPlugins"]
    assert (slow["Status"], slow["ResponseCode"], slow["StatusDetails"]) == ("TimedOut", 137, "ExecutionTimedOut")
    assert following["Output"] == "on\n"
    assert [call.timeout for call in machines.made[instance].calls] == [5, 3600]


@pytest.mark.parametrize(
    ("lines", "status", "code", "ran"),
    [
        (["exit 168"], "Success", 168, 1),
        (["exit 169"], "Failed", 169, 1),
        (["exit 137"], "TimedOut", 137, 2),
    ],
)
def test_special_exit_codes(ssm, instance, document, machines, lines, status, code, ran):
    done = run(ssm, instance, document(("special", lines), ("next", ["out on"])))
    special = done["CommandPlugins"][0]
    assert (special["Status"], special["ResponseCode"]) == (status, code)
    assert "Further document steps" not in special["Output"]
    got = ssm.get_command_invocation(CommandId=done["CommandId"], InstanceId=instance, PluginName="special")
    assert ("Further document steps" in got["StandardOutputContent"]) is (ran == 1)
    assert len(machines.made[instance].calls) == ran


def test_output_is_truncated(ssm, instance, document):
    done = run(ssm, instance, document(("long", ["repeat 30000 x"])))
    got = ssm.get_command_invocation(CommandId=done["CommandId"], InstanceId=instance)
    assert len(got["StandardOutputContent"]) == 24_000
    assert got["StandardOutputContent"].endswith("x--output truncated--")
    assert len(done["CommandPlugins"][0]["Output"]) == 2_500


def test_cancelling_kills_the_running_step_and_prevents_later_ones(ssm, instance, document):
    name = document(("long", ["wait"]), ("never", ["out never"]))
    command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
    eventually(lambda: ssm.list_commands(CommandId=command_id)["Commands"][0]["Status"] == "InProgress")
    for code, named in (("InvalidInstanceId", ["i-0123456789abcdef0"]), ("DuplicateInstanceId", [instance, instance])):
        assert refusal(ssm.cancel_command, CommandId=command_id, InstanceIds=named) == code
    ssm.cancel_command(CommandId=command_id)
    (done,) = ended(ssm, command_id)
    assert done["Status"] == "Cancelled"
    assert statuses(done) == {"long": "Cancelled", "never": "Cancelled"}
    assert refusal(ssm.cancel_command, CommandId="0" * 36) == "InvalidCommandId"


def test_lists_are_empty_for_an_unknown_command(ssm, instance, document):
    ssm.send_command(InstanceIds=[instance], DocumentName=document(("step", ["out done"])))
    assert ssm.list_command_invocations(CommandId="0" * 36)["CommandInvocations"] == []
    assert ssm.list_commands(CommandId="0" * 36)["Commands"] == []


def test_commands_on_a_terminated_instance_stay_in_progress(ec2, ssm, instance, document, machines):
    name = document(("long", ["wait"]))
    command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]
    eventually(lambda: bool(machines.made[instance].calls))
    ec2.terminate_instances(InstanceIds=[instance])
    eventually(lambda: machines.made[instance].destroyed)
    (invocation,) = ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
    assert (invocation["Status"], statuses(invocation)) == ("InProgress", {"long": "InProgress"})


def test_parameters_are_interpolated(ssm, instance, document, machines):
    parameters = {"Who": {"type": "String"}, "Times": {"type": "String", "default": "2", "allowedPattern": "[0-9]"}}
    name = document(("greet", ["out hello {{ Who }}", "repeat {{Times}} x"]), parameters=parameters)
    run(ssm, instance, name, Parameters={"Who": ["you"]})
    assert machines.made[instance].calls[0].text == "out hello you\nrepeat 2 x\n"
    send = {"InstanceIds": [instance], "DocumentName": name}
    for wrong in ({}, {"Who": ["x"], "Else": ["y"]}, {"Who": ["x"], "Times": ["many"]}):
        assert refusal(ssm.send_command, **send, Parameters=wrong) == "InvalidParameters"


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        '{"schemaVersion": "2.2"}',
        '{"schemaVersion": "9", "mainSteps": []}',
        '{"schemaVersion": "2.2", "mainSteps": [{"action": "aws:runShellScript", "name": "a b", "inputs": {}}]}',
        '{"schemaVersion": "2.2", "mainSteps": [{"action": "aws:runShellScript", "name": "a", "inputs":'
        ' {"runCommand": ["echo {{ Nobody }}"]}}]}',
    ],
)
def test_invalid_documents_are_refused(ssm, content):
    create = {"Name": "Test-Bad", "DocumentType": "Command", "Content": content}
    assert refusal(ssm.create_document, **create) == "InvalidDocumentContent"


def test_documents_have_a_maximum_size_and_a_unique_name(ssm, document):
    step = {"action": "aws:runShellScript", "name": "a", "inputs": {"runCommand": ["x" * 65_536]}}
    large = json.dumps({"schemaVersion": "2.2", "mainSteps": [step]})
    create = {"DocumentType": "Command", "Content": large}
    assert refusal(ssm.create_document, Name="Test-Large", **create) == "MaxDocumentSizeExceeded"
    name = document(("a", ["out x"]))
    content = ssm.get_document(Name=name)["Content"]
    again = {"DocumentType": "Command", "Content": content}
    assert refusal(ssm.create_document, Name=name, **again) == "DocumentAlreadyExists"
    assert refusal(ssm.create_document, Name="no spaces", **again) == "ValidationException"
    same = {"Name": name, "Content": content, "DocumentVersion": "$LATEST"}
    assert refusal(ssm.update_document, **same) == "DuplicateDocumentContent"
    described = ssm.describe_document(Name=name)["Document"]
    assert (described["Status"], described["SchemaVersion"]) == ("Active", "2.2")
    own = ssm.list_documents(Filters=[{"Key": "Owner", "Values": ["Self"]}])["DocumentIdentifiers"]
    assert [identifier["Name"] for identifier in own] == [name]
    ssm.delete_document(Name=name)
    assert refusal(ssm.get_document, Name=name) == "InvalidDocument"


def test_a_command_needs_registered_instances_and_an_existing_document(ssm, instance):
    send = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["out x"]}}
    assert refusal(ssm.send_command, **send, InstanceIds=["i-0123456789abcdef0"]) == "InvalidInstanceId"
    assert refusal(ssm.send_command, InstanceIds=[instance], DocumentName="Nothing-There") == "InvalidDocument"


def test_a_command_to_a_tag_respects_max_concurrency(ssm, launch, document, machines):
    ids = launch(4, tags={"Fleet": "one"})
    eventually(lambda: online(ssm) == set(ids))
    targets = [{"Key": "tag:Fleet", "Values": ["one"]}]
    sent = ssm.send_command(Targets=targets, DocumentName=document(("a", ["wait"])), MaxConcurrency="50%")
    command_id = sent["Command"]["CommandId"]

    def running() -> int:
        return sum(bool(machines.made[instance_id].calls) for instance_id in ids)

    eventually(lambda: running() == 2)
    time.sleep(0.3)
    assert running() == 2
    for machine in machines.made.values():
        machine.proceed.set()
    assert {invocation["Status"] for invocation in ended(ssm, command_id)} == {"Success"}
    (command,) = ssm.list_commands(CommandId=command_id)["Commands"]
    assert (command["TargetCount"], command["CompletedCount"], command["Status"]) == (4, 4, "Success")


def test_more_than_max_errors_stop_the_command(ssm, launch, document):
    ids = launch(3)
    eventually(lambda: online(ssm) == set(ids))
    sent = ssm.send_command(
        InstanceIds=ids, DocumentName=document(("a", ["exit 1"])), MaxConcurrency="1", MaxErrors="0"
    )
    details = sorted(invocation["StatusDetails"] for invocation in ended(ssm, sent["Command"]["CommandId"]))
    assert details == ["Failed", "Terminated", "Terminated"]


def test_invocations_have_pages_and_filters(ssm, instance, document):
    name = document(("a", ["out x"]))
    for _ in range(3):
        run(ssm, instance, name)
    pages = ssm.get_paginator("list_command_invocations").paginate(
        InstanceId=instance, PaginationConfig={"PageSize": 2}
    )
    assert [len(page["CommandInvocations"]) for page in pages] == [2, 1]
    failed = ssm.list_commands(Filters=[{"key": "Status", "value": "Failed"}])
    assert failed["Commands"] == []
    named = ssm.list_commands(Filters=[{"key": "DocumentName", "value": name}])
    assert len(named["Commands"]) == 3
