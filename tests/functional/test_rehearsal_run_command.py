"""Run Command: validation, targets, rates, errors, expiry, filters."""

import functools
import json
import time
import urllib.error
from datetime import timedelta

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.functional.conftest import REGION
from tests.functional.rehearsal_support import ended, online, run, statuses
from tests.functional.support import eventually, refusal


@pytest.fixture
def fleet(ssm, launch):
    """Launches tagged instances and waits until they are Online: `fleet(2)`; returns their ids."""

    def go(count):
        ids = launch(count, tags={"Fleet": "one"})
        eventually(lambda: online(ssm) >= set(ids))
        return ids

    return go


@pytest.fixture
def send(ssm):
    return functools.partial(ssm.send_command, DocumentName="AWS-RunShellScript", Parameters={"commands": ["out x"]})


def command(ssm, command_id):
    (found,) = ssm.list_commands(CommandId=command_id)["Commands"]
    return found


class TestRequests:
    @pytest.fixture
    def raw(self, rehearsal_endpoint):
        """A client without parameter validation."""
        return boto3.client("ssm", REGION, config=Config(parameter_validation=False, retries={"total_max_attempts": 1}))

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"Comment": "x" * 101}, "'comment' failed to satisfy constraint: Member must have length less than or"),
            ({"TimeoutSeconds": 29}, "'timeoutSeconds' failed to satisfy constraint: Member must have value greater"),
            ({"TimeoutSeconds": 2_592_001}, "less than or equal to 2592000"),
            ({"MaxConcurrency": "0"}, "'maxConcurrency' failed to satisfy constraint: Member must satisfy regular"),
            ({"MaxErrors": "101%"}, "'maxErrors'"),
            ({"InstanceIds": ["i-1"]}, "'instanceIds.1.member'"),
            ({"InstanceIds": [f"i-{number:017x}" for number in range(51)]}, "less than or equal to 50"),
            ({"Targets": [{"Key": "tag:x", "Values": ["y"]}] * 6}, "'targets'"),
            ({"DocumentName": None}, "Value null at 'documentName'"),
            ({"DocumentHashType": "Md5"}, "enum value set: [Sha256, Sha1]"),
        ],
    )
    def test_requests_are_checked_against_the_model(self, raw, wrong, message):
        request = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["x"]}, **wrong}
        with pytest.raises(ClientError) as refused:
            raw.send_command(**{name: value for name, value in request.items() if value is not None})
        assert refused.value.response["Error"]["Code"] == "ValidationException"
        assert message in refused.value.response["Error"]["Message"]
        assert "1 validation error detected: " in refused.value.response["Error"]["Message"]

    def test_a_wrong_type_is_a_serialization_error(self, raw):
        assert refusal(raw.send_command, DocumentName="AWS-RunShellScript", Comment=["x"]) == "SerializationException"

    def test_other_operations_are_checked_too(self, raw):
        assert refusal(raw.get_parameter, Name="") == "ValidationException"
        assert refusal(raw.list_command_invocations, MaxResults=51) == "ValidationException"
        assert refusal(raw.get_command_invocation, CommandId="x", InstanceId="i-12345678") == "ValidationException"

    def test_instances_or_targets_are_required(self, send, instance):
        assert refusal(send) == "ValidationException"
        both = {"InstanceIds": [instance], "Targets": [{"Key": "InstanceIds", "Values": [instance]}]}
        assert refusal(send, **both) == "ValidationException"
        assert refusal(send, InstanceIds=[instance, instance]) == "DuplicateInstanceId"
        assert refusal(send, Targets=[{"Key": "tag:a", "Values": list("abcdef")}]) == "ValidationException"

    def test_parameters_have_minimum_and_maximum_sizes(self, send, instance):
        assert refusal(send, InstanceIds=[instance], Parameters={"commands": []}) == "InvalidParameters"
        long = {"commands": ["x"], "workingDirectory": ["x" * 4097]}
        assert refusal(send, InstanceIds=[instance], Parameters=long) == "InvalidParameters"

    def test_defaults_have_any_type(self, ssm, instance, document, machines):
        parameters = {
            "Times": {"type": "Integer", "default": 5, "allowedValues": [5, 6], "allowedPattern": "[0-9]"},
            "Loud": {"type": "Boolean", "default": True},
            "Both": {"type": "StringMap", "default": {"a": 1}, "maxChars": 8},
        }
        name = document(("step", ["out {{ Times }} {{Loud}} {{ Both }}"]), parameters=parameters)
        run(ssm, instance, name)
        run(ssm, instance, name, Parameters={"Times": ["6"], "Loud": ["false"]})
        assert [call.text for call in machines.made[instance].calls] == [
            'out 5 true {"a": 1}\n',
            'out 6 false {"a": 1}\n',
        ]
        wrong = {"InstanceIds": [instance], "DocumentName": name, "Parameters": {"Times": ["7"]}}
        assert refusal(ssm.send_command, **wrong) == "InvalidParameters"

    def test_references_to_parameter_store_are_replaced(self, ssm, send, instance, machines):
        ssm.put_parameter(Name="/word", Value="hello", Type="String")
        ssm.put_parameter(Name="/secret", Value="s", Type="SecureString")
        sent = send(InstanceIds=[instance], Parameters={"commands": ["out {{ssm:/word}} {{ .Names }}"]})["Command"]
        ended(ssm, sent["CommandId"])
        assert machines.made[instance].calls[0].text == "out hello {{ .Names }}\n"
        assert sent["Parameters"] == {"commands": ["out {{ssm:/word}} {{ .Names }}"]}
        for name in ("/secret", "/nothing"):
            assert refusal(send, InstanceIds=[instance], Parameters={"commands": [f"{{{{ssm:{name}}}}}"]}) == (
                "InvalidParameters"
            )


class TestDocuments:
    def test_the_document_of_amazon_has_schema_1_2(self, ssm):
        content = json.loads(ssm.get_document(Name="AWS-RunShellScript")["Content"])
        assert content["schemaVersion"] == "1.2"
        (settings,) = content["runtimeConfig"]["aws:runShellScript"]["properties"]
        assert settings["id"] == "0.aws:runShellScript"

    def test_custom_documents_may_have_schema_1_2(self, ssm, instance):
        settings = {"id": "0.aws:runShellScript", "runCommand": ["out mine"]}
        content = {"schemaVersion": "1.2", "runtimeConfig": {"aws:runShellScript": {"properties": [settings]}}}
        ssm.create_document(Name="Mine", DocumentType="Command", Content=json.dumps(content))
        assert run(ssm, instance, "Mine")["CommandPlugins"][0]["Output"] == "mine\n"
        content["runtimeConfig"]["aws:runShellScript"] = {}
        assert (
            refusal(ssm.create_document, Name="Bad", DocumentType="Command", Content=json.dumps(content))
            == "InvalidDocumentContent"
        )

    def test_parameters_count_toward_the_size(self, ssm, send, instance, document):
        amazons = len(ssm.get_document(Name="AWS-RunShellScript")["Content"])
        room = 64 * 1024 - amazons
        large = {"InstanceIds": [instance], "Parameters": {"commands": ["out " + "x" * (room - 4)]}}
        ended(ssm, send(**large)["Command"]["CommandId"])
        large["Parameters"]["executionTimeout"] = ["9"]
        assert refusal(send, **large) == "MaxDocumentSizeExceeded"

    def test_the_size_is_that_of_the_content_as_sent(self, ssm, instance):
        """Serialized again, with a space after each comma, this document would be too large."""
        step = {"action": "aws:runShellScript", "name": "a", "inputs": {"runCommand": ["out x"] * 7_900}}
        content = json.dumps({"schemaVersion": "2.2", "mainSteps": [step]}, separators=(",", ":"))
        ssm.create_document(Name="Mine", DocumentType="Command", Content=content)
        assert run(ssm, instance, "Mine")["Status"] == "Success"

    def test_the_default_type_is_command(self, ssm, instance):
        step = {"action": "aws:runShellScript", "name": "a", "inputs": {"runCommand": ["out mine"]}}
        content = json.dumps({"schemaVersion": "2.2", "mainSteps": [step]})
        made = ssm.create_document(Name="Mine", Content=content)["DocumentDescription"]
        assert made["DocumentType"] == "Command"
        assert run(ssm, instance, "Mine")["CommandPlugins"][0]["Output"] == "mine\n"
        assert refusal(ssm.create_document, Name="Bad", Content="{}") == "InvalidDocumentContent"


class TestTargets:
    def test_instances_must_meet_all_criteria(self, ssm, send, launch, fleet):
        first, second = fleet(2)
        other = launch(1, role="permitted", tags={"Fleet": "one", "Role": "other"})[0]
        eventually(lambda: online(ssm) == {first, second, other})
        fleets = {"Key": "tag:Fleet", "Values": ["one", "more"]}

        def reached(*targets):
            found = ended(ssm, send(Targets=list(targets))["Command"]["CommandId"])
            return {invocation["InstanceId"] for invocation in found}

        assert reached(fleets) == {first, second, other}
        assert reached(fleets, {"Key": "tag:Role", "Values": ["other"]}) == {other}
        assert reached(fleets, {"Key": "InstanceIds", "Values": [first, other]}) == {first, other}
        assert reached({"Key": "tag-key", "Values": ["Role"]}) == {other}

    def test_a_command_without_matching_instances_fails(self, ssm, send):
        sent = send(Targets=[{"Key": "tag:Fleet", "Values": ["none"]}])["Command"]
        found = command(ssm, sent["CommandId"])
        assert (found["Status"], found["StatusDetails"], found["TargetCount"]) == ("Failed", "NoInstancesInTag", 0)

    def test_a_command_is_sent_in_growing_waves(self, ssm, fleet, document, machines, control):
        ids = fleet(7)
        control("latency", {"wave": 1.5})
        name = document(("first", ["wait"]))
        ssm.send_command(Targets=[{"Key": "tag:Fleet", "Values": ["one"]}], DocumentName=name)
        seen: list[int] = []

        def running():
            seen.append(sum(bool(machines.made[instance_id].calls) for instance_id in ids))
            return seen[-1] == 7

        eventually(running)
        assert {1, 3, 7} <= set(seen)


class TestErrors:
    def test_max_errors_as_a_number(self, ssm, fleet, document, machines):
        ids = fleet(4)
        name = document(("step", ["exit 1"]))
        sent = ssm.send_command(InstanceIds=ids, DocumentName=name, MaxConcurrency="1", MaxErrors="1")["Command"]
        details = sorted(invocation["StatusDetails"] for invocation in ended(ssm, sent["CommandId"]))
        assert details == ["Failed", "Failed", "Terminated", "Terminated"]
        found = command(ssm, sent["CommandId"])
        assert (found["Status"], found["ErrorCount"], found["CompletedCount"]) == ("Failed", 2, 4)

    def test_max_errors_as_a_percentage(self, ssm, fleet, document, machines):
        ids = fleet(4)
        name = document(("step", ["exit 1"]))
        sent = ssm.send_command(InstanceIds=ids, DocumentName=name, MaxConcurrency="25%", MaxErrors="50%")["Command"]
        details = sorted(invocation["StatusDetails"] for invocation in ended(ssm, sent["CommandId"]))
        assert details == ["Failed", "Failed", "Failed", "Terminated"]

    def test_errors_within_max_errors_make_the_command_incomplete(self, ssm, fleet, document, machines):
        ids = fleet(2)
        machines.made[ids[0]].proceed.set()
        name = document(("step", ["wait"], {"timeoutSeconds": "5"}))
        sent = ssm.send_command(InstanceIds=ids, DocumentName=name, MaxErrors="1")["Command"]
        ended(ssm, sent["CommandId"])
        found = command(ssm, sent["CommandId"])
        assert (found["Status"], found["StatusDetails"], found["ErrorCount"]) == ("Success", "Incomplete", 1)


class TestExpiry:
    def test_a_command_to_an_unreachable_agent_times_out(self, ssm, send, instance, control):
        control("host", {"instance_id": instance, "do": "lose-agent"})
        sent = send(InstanceIds=[instance], TimeoutSeconds=600)["Command"]

        def shown():
            found = ssm.list_command_invocations(CommandId=sent["CommandId"], Details=True)["CommandInvocations"]
            shape = found[0] if found else {"Status": "", "StatusDetails": "", "CommandPlugins": []}
            return shape["Status"], shape["StatusDetails"], statuses(shape).get("aws:runShellScript")

        assert sent["ExpiresAfter"] - sent["RequestedDateTime"] == timedelta(seconds=600 + 3600)
        eventually(lambda: shown() == ("Delayed", "Delayed", "Pending"))
        assert command(ssm, sent["CommandId"])["Status"] == "Pending"
        control("clock", {"advance_seconds": 4000})
        assert shown()[0] == "Delayed"
        control("clock", {"advance_seconds": 201})
        assert shown() == ("TimedOut", "DeliveryTimedOut", "TimedOut")
        found = command(ssm, sent["CommandId"])
        assert (found["Status"], found["StatusDetails"]) == ("TimedOut", "DeliveryTimedOut")
        assert (found["DeliveryTimedOutCount"], found["ErrorCount"], found["CompletedCount"]) == (1, 0, 1)

    def test_a_command_does_not_run_after_its_delivery_timeout(self, ssm, send, instance, control, machines):
        control("host", {"instance_id": instance, "do": "lose-agent"})
        sent = send(InstanceIds=[instance], TimeoutSeconds=60)["Command"]
        control("clock", {"advance_seconds": 61})
        control("host", {"instance_id": instance, "do": "restore-agent"})
        time.sleep(0.5)
        assert machines.made[instance].calls == []
        assert command(ssm, sent["CommandId"])["Status"] == "Pending"


class TestListing:
    def test_pages_have_50_items_by_default(self, ssm, send, instance):
        for _ in range(52):
            send(InstanceIds=[instance])
        first = ssm.list_commands()
        assert len(first["Commands"]) == 50
        assert len(ssm.list_commands(NextToken=first["NextToken"])["Commands"]) == 2
        assert refusal(ssm.list_commands, NextToken="made up") == "InvalidNextToken"

    def test_filters(self, ssm, send, instance, document):
        good = send(InstanceIds=[instance])["Command"]["CommandId"]
        bad = ssm.send_command(InstanceIds=[instance], DocumentName=document(("step", ["exit 1"])))["Command"]
        for command_id in (good, bad["CommandId"]):
            ended(ssm, command_id)

        def found(call=ssm.list_commands, **filters):
            response = call(Filters=[{"key": key, "value": value} for key, value in filters.items()])
            return {item["CommandId"] for item in response.get("Commands", response.get("CommandInvocations"))}

        assert found(Status="Success") == {good}
        assert found(Status="Failed") == {bad["CommandId"]}
        assert found(ExecutionStage="Complete") == {good, bad["CommandId"]}
        assert found(ExecutionStage="Executing") == set()
        assert found(ssm.list_command_invocations, Status="Failed") == {bad["CommandId"]}
        assert found(InvokedAfter="2100-01-01T00:00:00Z") == set()
        assert found(InvokedBefore="2100-01-01", InvokedAfter="2024-07-07T00:00:00") == {good, bad["CommandId"]}
        nonsense = [{"key": "InvokedAfter", "value": "yesterday"}]
        assert refusal(ssm.list_commands, Filters=nonsense) == "ValidationException"
        stage = [{"key": "ExecutionStage", "value": "Complete"}]
        assert refusal(ssm.list_command_invocations, Filters=stage) == "InvalidFilterKey"


class TestRates:
    def test_an_operation_is_throttled_at_its_rate(self, ssm, control):
        assert control("rates", {"ListCommands": {"burst": 2, "per_second": 0}})
        for _ in range(2):
            ssm.list_commands()
        assert refusal(ssm.list_commands) == "ThrottlingException"
        ssm.list_command_invocations()
        control("rates", {"ListCommands": None})
        ssm.list_commands()
        assert control("rates") == {}

    @pytest.mark.parametrize("wrong", [{}, {"Fly": None}, {"RunInstances": None}, {"SendCommand": {"burst": "x"}}])
    def test_invalid_rates_are_refused(self, control, wrong):
        with pytest.raises(urllib.error.HTTPError) as refused:
            control("rates", wrong)
        assert refused.value.code == 400
