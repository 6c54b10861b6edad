"""Which instances Systems Manager manages: those whose agent reached it, once at least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ssm.responses import SimpleSystemManagerResponse

from rehearsal.answers import RehearsalResponse, matches, page
from rehearsal.aws.iam.policies import Decision, Request, decide
from rehearsal.aws.iam.principals import policies_of
from rehearsal.aws.iam.role_sessions import role_of
from rehearsal.errors import AwsError

AGENT_VERSION = "3.3.3185.0"
PAGE = 50
_INSTANCES_A_PAGE = 10
"""Unless another number is asked for: SSM API reference, DescribeInstanceInformation."""
_KEYS = (
    *("ActivationIds", "AgentVersion", "InstanceIds", "PingStatus"),
    *("PlatformTypes", "ResourceType", "SourceIds", "SourceTypes"),
)
_NOT_MODELLED = ("AssociationStatus", "IamRole")
"""These and `tag-key`, `tag:…` are the keys there are: botocore's model, InstanceInformationStringFilter.Key. An
instance of EC2 has no activation."""


class InstanceResponse(RehearsalResponse, SimpleSystemManagerResponse):  # type: ignore[misc] # moto has no types
    """Which instances Systems Manager manages."""

    def describe_instance_information(self) -> ActionResult:
        found = [one for one in self._instances() if self._registered(one)]
        for key, values in self._wanted():
            found = [one for one in found if passes(one, key, values, self.world.links.ping(one.id).status)]
        shown, token = page(
            found,
            self._get_int_param("MaxResults", _INSTANCES_A_PAGE),
            self._get_param("NextToken"),
            bad_token="InvalidNextToken",
        )
        described = [self._described(one) for one in shown]
        return ActionResult({"InstanceInformationList": described, "NextToken": token})

    def get_connection_status(self) -> ActionResult:
        """Whether Session Manager could reach it now; one it has never heard of is not connected (assumed)."""
        target = self._get_param("Target")
        reachable = self.world.fleet.ready(target) is not None and self.world.links.connected(target)
        managed = any(one.id == target and self._registered(one) for one in self._instances())
        return ActionResult({"Target": target, "Status": "connected" if reachable and managed else "notconnected"})

    def _wanted(self) -> list[tuple[str, list[str]]]:
        """The filters of a request; AwsError for those that exclude each other (the code is assumed)."""
        filters, legacy = self._get_param("Filters") or [], self._get_param("InstanceInformationFilterList") or []
        if filters and legacy:
            raise AwsError("ValidationException", "Specify either Filters or InstanceInformationFilterList.")
        wanted = [(each["Key"], each["Values"]) for each in filters]
        wanted += [(each["key"], each["valueSet"]) for each in legacy]
        for key, _ in wanted:
            _check_key(key)
        if len({key.startswith("tag") for key, _ in wanted}) > 1:
            raise AwsError("ValidationException", "Tag filters can't be combined with other filter types.")
        return wanted

    def _instances(self) -> list[Any]:
        return list(ec2_backends[self.current_account][self.region].all_instances())

    def _registered(self, instance: Any) -> bool:
        """Whether the instance's agent reached Systems Manager: a host that runs, a role that lets it.

        Source: Systems Manager user guide, "Configure instance permissions required for Systems Manager".
        """
        if instance.state != "running" or not self.world.fleet.has_been_up(instance.id):
            return False
        return may_register(instance, self.current_account)

    def _described(self, instance: Any) -> dict[str, Any]:
        name, version = self.world.fleet.system(instance.id)
        ping = self.world.links.ping(instance.id)
        return {
            "InstanceId": instance.id,
            "PingStatus": ping.status,
            "LastPingDateTime": ping.last,
            "AgentVersion": AGENT_VERSION,
            "IsLatestVersion": True,
            "PlatformType": "Linux",
            "PlatformName": name,
            "PlatformVersion": version,
            "ResourceType": "EC2Instance",
            "IPAddress": instance.private_ip,
            "ComputerName": instance.private_dns_name,
            "SourceId": instance.id,
            "SourceType": "AWS::EC2::Instance",
        }


def may_register(instance: Any, account: str) -> bool:
    """Whether the role of the instance's profile lets an agent register and take commands.

    AmazonSSMManagedInstanceCore is one policy that does; what counts is what the policies allow.
    """
    role = role_of(instance, account)
    if role is None:
        return False
    documents = policies_of(role)

    def allows(action: str) -> bool:
        return decide(documents, Request(action, "*")) is Decision.ALLOWED

    messages = allows("ssmmessages:OpenControlChannel") or allows("ec2messages:GetMessages")
    return messages and allows("ssm:UpdateInstanceInformation")


def passes(instance: Any, key: str, values: Sequence[str], ping: str = "Online") -> bool:
    """Whether it meets a filter of DescribeInstanceInformation, or a target of a command that is like one."""
    tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
    if key.startswith("tag:"):
        name = key.removeprefix("tag:")
        return name in tags and matches(tags[name], values)
    if key == "tag-key":
        return any(matches(name, values) for name in tags)
    _check_key(key)
    known = {
        "ActivationIds": "",
        "AgentVersion": AGENT_VERSION,
        "InstanceIds": instance.id,
        "PingStatus": ping,
        "PlatformTypes": "Linux",
        "ResourceType": "EC2Instance",
        "SourceIds": instance.id,
        "SourceTypes": "AWS::EC2::Instance",
    }
    return known[key] in values


def _check_key(key: str) -> None:
    """AwsError for a filter that there is not; NotImplementedError for one that the rehearsal can't answer."""
    if key in _NOT_MODELLED:
        raise NotImplementedError(f"DescribeInstanceInformation by {key}")
    if key not in _KEYS and key != "tag-key" and not key.startswith("tag:"):
        raise AwsError("InvalidFilterKey", f"The filter key {key} is not valid.")
