"""The instances that Systems Manager manages: those whose agent has registered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ssm.responses import SimpleSystemManagerResponse

from rehearsal.answers import RehearsalResponse, matches, page
from rehearsal.aws.iam.policies import Decision, Request, decide
from rehearsal.aws.iam.principals import instance_role, policies_of
from rehearsal.errors import AwsError

AGENT_VERSION = "3.3.3185.0"
PAGE_SIZE = 50
_INSTANCE_PAGE_SIZE = 10
"""The default: SSM API reference, DescribeInstanceInformation."""
_KEYS = (
    *("ActivationIds", "AgentVersion", "InstanceIds", "PingStatus"),
    *("PlatformTypes", "ResourceType", "SourceIds", "SourceTypes"),
)
_NOT_MODELLED = ("AssociationStatus", "IamRole")
"""All keys are these, `tag-key` and `tag:…`: botocore's model, InstanceInformationStringFilter.Key. EC2 instances have
no activation."""


class InstanceResponse(RehearsalResponse, SimpleSystemManagerResponse):  # type: ignore[misc] # moto has no types
    """Operations on managed instances; moto dispatches by method name."""

    def describe_instance_information(self) -> ActionResult:
        instances = list(self._registered_instances().values())
        for key, values in self._filters():
            instances = [
                instance
                for instance in instances
                if matches_filter(instance, key, values, self.world.links.ping(instance.id).status)
            ]
        shown, token = page(
            instances,
            self._get_int_param("MaxResults", _INSTANCE_PAGE_SIZE),
            self._get_param("NextToken"),
            bad_token="InvalidNextToken",
        )
        shapes = [self._instance_shape(instance) for instance in shown]
        return ActionResult({"InstanceInformationList": shapes, "NextToken": token})

    def get_connection_status(self) -> ActionResult:
        """Whether Session Manager can reach the instance; an unknown one is not connected (assumed)."""
        target = self._get_param("Target")
        is_reachable = self.world.fleet.ready(target) is not None and self.world.links.connected(target)
        is_connected = is_reachable and target in self._registered_instances()
        return ActionResult({"Target": target, "Status": "connected" if is_connected else "notconnected"})

    def _filters(self) -> list[tuple[str, list[str]]]:
        """The request's filters as keys and values; AwsError for exclusive ones (the code is assumed)."""
        filters, legacy = self._get_param("Filters") or [], self._get_param("InstanceInformationFilterList") or []
        if filters and legacy:
            raise AwsError("ValidationException", "Specify either Filters or InstanceInformationFilterList.")
        pairs = [(condition["Key"], condition["Values"]) for condition in filters]
        pairs += [(condition["key"], condition["valueSet"]) for condition in legacy]
        for key, _ in pairs:
            _check_key(key)
        if len({key.startswith("tag") for key, _ in pairs}) > 1:
            raise AwsError("ValidationException", "Tag filters can't be combined with other filter types.")
        return pairs

    def _registered_instances(self) -> dict[str, Any]:
        """The instances, by id, whose agent has registered: their host has booted, and their role allows it.

        Source: Systems Manager user guide, "Configure instance permissions required for Systems Manager".
        """
        return {
            instance.id: instance
            for instance in ec2_backends[self.current_account][self.region].all_instances()
            if instance.state == "running"
            and self.world.fleet.has_been_up(instance.id)
            and may_register(instance, self.current_account)
        }

    def _instance_shape(self, instance: Any) -> dict[str, Any]:
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
    """Whether the instance's role allows its agent to register and receive commands.

    AmazonSSMManagedInstanceCore does, but any policies with these permissions will do.
    """
    role = instance_role(instance, account)
    if role is None:
        return False
    documents = policies_of(role)

    def allows(action: str) -> bool:
        return decide(documents, Request(action, "*")) is Decision.ALLOWED

    can_receive = allows("ssmmessages:OpenControlChannel") or allows("ec2messages:GetMessages")
    return can_receive and allows("ssm:UpdateInstanceInformation")


def matches_filter(instance: Any, key: str, values: Sequence[str], ping_status: str = "Online") -> bool:
    """Whether an instance matches a filter of DescribeInstanceInformation, or an equivalent target of a command."""
    tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
    if key.startswith("tag:"):
        name = key.removeprefix("tag:")
        return name in tags and matches(tags[name], values)
    if key == "tag-key":
        return any(matches(name, values) for name in tags)
    _check_key(key)
    attributes = {
        "ActivationIds": "",
        "AgentVersion": AGENT_VERSION,
        "InstanceIds": instance.id,
        "PingStatus": ping_status,
        "PlatformTypes": "Linux",
        "ResourceType": "EC2Instance",
        "SourceIds": instance.id,
        "SourceTypes": "AWS::EC2::Instance",
    }
    return attributes[key] in values


def _check_key(key: str) -> None:
    """AwsError for an unknown filter key; NotImplementedError for one that is not modelled."""
    if key in _NOT_MODELLED:
        raise NotImplementedError(f"DescribeInstanceInformation by {key}")
    if key not in _KEYS and key != "tag-key" and not key.startswith("tag:"):
        raise AwsError("InvalidFilterKey", f"The filter key {key} is not valid.")
