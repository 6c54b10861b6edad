"""Instances and Systems Manager through the AWS CLI, with commands that really run.

The tests share two light hosts and run in order; the last test terminates an instance.
"""

import json
import shlex

import pytest

from tests.functional.aws_cli import AwsCli
from tests.functional.light import REGION, light_fleet
from tests.functional.support import AMI_PARAMETER

DOCUMENT = "AWS-RunShellScript"
NO_COMMAND = "11111111-2222-3333-4444-555555555555"
RESERVATION = f"/capacity-block/{REGION}/reservation-id"


@pytest.fixture(scope="module")
def fleet():
    with light_fleet(2) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def cli(fleet):
    return AwsCli(fleet.sandbox.environment, REGION)


@pytest.fixture(scope="module")
def machines(fleet):
    return fleet.instance_ids


def send(script, where, more=""):
    """The command line that sends a script and prints the command's id."""
    parameters = shlex.quote(json.dumps({"commands": script.splitlines()}))
    line = f"ssm send-command --document-name {DOCUMENT} --parameters {parameters} {where} {more}"
    return f"{line} --query Command.CommandId"


@pytest.fixture(scope="module")
def mixed_command(cli, machines):
    """The id of a command that succeeded on the first instance and failed on the second."""
    script = f'echo "this is $(hostname)"\necho oops >&2\ntest "$(hostname)" = {machines[0]}'
    command = cli(send(script, f"--instance-ids {' '.join(machines)}", "--comment look"))
    assert cli(f"ssm wait command-executed --command-id {command} --instance-id {machines[0]}") is None
    failed = cli.refused(f"ssm wait command-executed --command-id {command} --instance-id {machines[1]}")
    assert failed == (
        "Waiter CommandExecuted failed: Waiter encountered a terminal failure state: "
        'For expression "Status" we matched expected path: "Failed"'
    )
    return command


def test_managed_instances(cli, machines):
    fields = "InstanceInformationList[].[InstanceId,PingStatus,PlatformType,ResourceType]"
    found = cli(f"ssm describe-instance-information --filters Key=tag:Team,Values=ml --query '{fields}'")
    assert sorted(found) == sorted([instance_id, "Online", "Linux", "EC2Instance"] for instance_id in machines)
    # The minimum page size is 5.
    assert len(cli("ssm describe-instance-information --page-size 5 --max-items 1")["InstanceInformationList"]) == 1
    status = f"ec2 describe-instance-status --instance-ids {machines[0]} --query InstanceStatuses[0].InstanceState.Name"
    assert cli(status) == "running"
    assert cli(f"ec2 wait instance-running --instance-ids {' '.join(machines)}") is None
    reachable = f"ssm get-connection-status --target {machines[0]}"
    assert cli(reachable) == {"Target": machines[0], "Status": "connected"}


def test_an_invocation_by_command_and_plugin(cli, machines, mixed_command):
    look = f"ssm get-command-invocation --command-id {mixed_command} --plugin-name aws:runShellScript --instance-id"
    worked, failed = (cli(f"{look} {instance_id}") for instance_id in machines)
    assert (worked["Status"], worked["ResponseCode"]) == ("Success", 0)
    assert worked["StandardOutputContent"] == f"this is {machines[0]}\n"
    assert worked["StandardErrorContent"] == "oops\n"
    assert (failed["Status"], failed["ResponseCode"]) == ("Failed", 1)
    assert failed["StandardOutputContent"] == f"this is {machines[1]}\n"
    assert failed["StandardErrorContent"] == "oops\nfailed to run commands: exit status 1"
    assert (worked["Comment"], worked["DocumentName"]) == ("look", DOCUMENT)


def test_all_invocations_of_a_command(cli, machines, mixed_command):
    listing = f"ssm list-command-invocations --command-id {mixed_command}"
    found = cli(f"{listing} --details --page-size 1")["CommandInvocations"]
    plugins = {invocation["InstanceId"]: invocation["CommandPlugins"][0] for invocation in found}
    assert plugins.keys() == set(machines)
    assert plugins[machines[0]]["Output"] == f"this is {machines[0]}\n\n----------ERROR-------\noops\n"
    assert plugins[machines[1]]["ResponseCode"] == 1
    only = cli(f"{listing} --filters key=Status,value=Failed --query CommandInvocations[].InstanceId")
    assert only == [machines[1]]
    first = cli(f"{listing} --max-items 1")
    (second,) = cli(f"{listing} --starting-token {first['NextToken']}")["CommandInvocations"]
    assert {first["CommandInvocations"][0]["InstanceId"], second["InstanceId"]} == set(machines)
    counts = "Commands[0].[Status,TargetCount,CompletedCount,ErrorCount]"
    assert cli(f"ssm list-commands --command-id {mixed_command} --query '{counts}'") == ["Failed", 2, 2, 1]


def test_a_document_with_steps(cli, machines, tmp_path):
    steps = [("first", "echo hello {{ Who }}"), ("second", "echo on; exit 3"), ("third", "echo never")]
    content = {
        "schemaVersion": "2.2",
        "parameters": {"Who": {"type": "String", "default": "nobody"}},
        "mainSteps": [
            {"action": "aws:runShellScript", "name": name, "inputs": {"runCommand": [script], "onFailure": "exit"}}
            for name, script in steps
        ],
    }
    (tmp_path / "document.json").write_text(json.dumps(content))
    create = f"ssm create-document --name Team-Look --document-type Command --content file://{tmp_path}/document.json"
    assert cli(f"{create} --query DocumentDescription.[Status,SchemaVersion]") == ["Active", "2.2"]
    assert cli.refused(create).startswith("An error occurred (DocumentAlreadyExists) when calling the CreateDocument")
    kept = cli("ssm get-document --name Team-Look")
    assert (kept["DocumentType"], json.loads(kept["Content"])) == ("Command", content)

    query = "--query Command.CommandId"
    command = cli(
        f"ssm send-command --document-name Team-Look --parameters Who=you --instance-ids {machines[0]} {query}"
    )
    cli.refused(f"ssm wait command-executed --command-id {command} --instance-id {machines[0]} --plugin-name second")
    fields = "CommandInvocations[0].CommandPlugins[].[Name,Status,ResponseCode]"
    assert cli(f"ssm list-command-invocations --command-id {command} --details --query '{fields}'") == [
        ["first", "Success", 0],
        ["second", "Failed", 3],
        ["third", "Success", 0],
    ]
    look = f"ssm get-command-invocation --command-id {command} --instance-id {machines[0]}"
    assert cli(f"{look} --plugin-name first --query StandardOutputContent") == "hello you\n"
    status, output = cli(f"{look} --plugin-name second --query '[Status,StandardOutputContent]'")
    assert (status, output.splitlines()[0]) == ("Failed", "on")
    assert cli(f"{look} --plugin-name third --query StandardOutputContent") == ""
    output = "CommandInvocations[0].CommandPlugins[2].Output"
    skipped = cli(f"ssm list-command-invocations --command-id {command} --details --query {output}")
    assert "skipped due to prior step" in skipped
    assert "(InvalidPluginName)" in cli.refused(look)
    cli("ssm delete-document --name Team-Look")
    assert "(InvalidDocument)" in cli.refused("ssm get-document --name Team-Look")


def test_amazons_document(cli):
    document = cli(f"ssm get-document --name {DOCUMENT}")
    assert (document["Name"], document["DocumentType"], document["Status"]) == (DOCUMENT, "Command", "Active")
    assert {"commands", "workingDirectory", "executionTimeout"} == json.loads(document["Content"])["parameters"].keys()


def test_a_command_to_a_tag_is_cancelled(cli, machines):
    command = cli(send("sleep 300", "--targets Key=tag:Team,Values=ml", "--max-concurrency 100%"))
    assert cli(f"ssm cancel-command --command-id {command}") is None
    for instance_id in machines:
        error = cli.refused(f"ssm wait command-executed --command-id {command} --instance-id {instance_id}")
        assert error.endswith('matched expected path: "Cancelled"')
    assert cli(f"ssm list-commands --command-id {command} --query Commands[0].[Status,TargetCount]") == ["Cancelled", 2]


def test_parameters(cli):
    image = cli(f"ssm get-parameter --name {AMI_PARAMETER} --query Parameter.[Value,DataType]")
    assert image[1] == "aws:ec2:image"
    described = cli(f"ec2 describe-images --image-ids {image[0]} --query Images[0].Name")
    assert described.startswith("Deep Learning AMI Neuron (Ubuntu 24.04)")
    put = f"ssm put-parameter --name {RESERVATION} --type String --value"
    assert cli(f"{put} cr-1")["Version"] == 1
    assert cli.refused(f"{put} cr-2") == (
        "An error occurred (ParameterAlreadyExists) when calling the PutParameter operation: The parameter already "
        "exists. To overwrite this value, set the overwrite option in the request to true."
    )
    assert cli(f"{put} cr-2 --overwrite")["Version"] == 2
    found = cli(f"ssm get-parameters --names {RESERVATION} {AMI_PARAMETER} /nothing")
    values = {parameter["Name"]: parameter["Value"] for parameter in found["Parameters"]}
    assert values == {RESERVATION: "cr-2", AMI_PARAMETER: image[0]}
    assert found["InvalidParameters"] == ["/nothing"]
    public = "ssm get-parameters-by-path --path /aws/service/neuron/dlami --recursive --query Parameters[].Name"
    names = cli(f"{public} --page-size 2")
    assert AMI_PARAMETER in names
    assert len(set(names)) == len(names) > 2
    assert cli(f"{public} --page-size 2 --max-items 3") == names[:3]


def test_a_secret(cli):
    made = cli("secretsmanager create-secret --name code-server --secret-string 'a b\"c'")
    for which in ("code-server", made["ARN"]):
        got = cli(f"secretsmanager get-secret-value --secret-id {which}")
        assert (got["SecretString"], got["VersionStages"]) == ('a b"c', ["AWSCURRENT"])
    assert cli.refused("secretsmanager get-secret-value --secret-id another") == (
        "An error occurred (ResourceNotFoundException) when calling the GetSecretValue operation: "
        "Secrets Manager can't find the specified secret."
    )


def test_common_errors(cli, machines):
    there = f"--instance-ids {machines[0]}"
    for line, error in (
        (
            f"ssm get-command-invocation --command-id {NO_COMMAND} --instance-id {machines[0]}",
            "(InvocationDoesNotExist) when calling the GetCommandInvocation operation",
        ),
        (
            f"ssm cancel-command --command-id {NO_COMMAND}",
            "(InvalidCommandId) when calling the CancelCommand operation",
        ),
        (
            send("true", "--instance-ids i-0123456789abcdef0"),
            "(InvalidInstanceId) when calling the SendCommand operation: Instances [[i-0123456789abcdef0]] not in a "
            "valid state for account 123456789012",
        ),
        (
            send("true", there).replace(DOCUMENT, "Nobodys-Document"),
            "(InvalidDocument) when calling the SendCommand operation",
        ),
        (f"ssm send-command {there} --document-name {DOCUMENT} --parameters no=1", "(InvalidParameters)"),
        (f"ssm get-parameter --name /capacity-block/{REGION}/nothing", "(ParameterNotFound)"),
        ("ec2 describe-instances --instance-ids i-0123456789abcdef0", "(InvalidInstanceID.NotFound)"),
    ):
        assert cli.refused(line).startswith(f"An error occurred {error}")


def test_terminating_an_instance(cli, machines):
    end = f"ec2 terminate-instances --instance-ids {machines[1]}"
    assert "(DryRunOperation)" in cli.refused(f"{end} --dry-run")
    assert cli(
        f"ec2 describe-instances --instance-ids {machines[1]} --query Reservations[0].Instances[0].State.Name"
    ) == ("running")
    assert cli(f"{end} --query TerminatingInstances[0].CurrentState.Name") == "shutting-down"
    assert cli(f"ec2 wait instance-terminated --instance-ids {machines[1]}") is None
    assert cli("ssm describe-instance-information --query InstanceInformationList[].InstanceId") == [machines[0]]
    assert cli(f"ssm get-connection-status --target {machines[1]} --query Status") == "notconnected"
    assert "(InvalidInstanceId)" in cli.refused(send("true", f"--instance-ids {machines[1]}"))
