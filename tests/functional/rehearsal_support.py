"""What the functional tests of commands share."""

from tests.functional.support import eventually


def online(ssm) -> set[str]:
    return {one["InstanceId"] for one in ssm.describe_instance_information()["InstanceInformationList"]}


def ended(ssm, command_id, seconds=5.0):
    """The command's invocations with details, once all have ended."""

    def look():
        found = ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
        under_way = [one for one in found if one["Status"] in ("Pending", "InProgress", "Cancelling")]
        return [] if under_way else found

    eventually(lambda: bool(look()), seconds)
    return look()


def run(ssm, instance, document, **more):
    sent = ssm.send_command(InstanceIds=[instance], DocumentName=document, **more)
    return ended(ssm, sent["Command"]["CommandId"])[0]


def statuses(invocation):
    return {plugin["Name"]: plugin["Status"] for plugin in invocation["CommandPlugins"]}
