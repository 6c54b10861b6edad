"""The permissions that calls to EC2 need.

Sources
-------
- Resource types by action: Service Authorization Reference, "Actions, resources, and condition keys for Amazon EC2".
- RunInstances is checked on everything that the launch creates and uses, including its template: EC2 user guide,
  "Example policies to control access to the Amazon EC2 API", "Launch instances (RunInstances)". That subnets and
  security groups chosen by EC2 are checked as `*` is assumed.
- CreateTags is checked on all resources that are tagged on creation, with `ec2:CreateAction`: EC2 user guide, "Grant
  permission to tag Amazon EC2 resources during creation". Request tags are those of the resource's own type: the same.
- iam:PassRole for the role in a launch's instance profile: EC2 user guide, "IAM roles for Amazon EC2".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from rehearsal.aws.ec2.launches import merge_template
from rehearsal.aws.iam.api_calls import ApiCall, request_tags, resource_tags
from rehearsal.aws.iam.policies import Request
from rehearsal.aws.iam.principals import PARTITION

_ID = re.compile(r"([a-z]+)-[0-9a-f]{8,}")
_READS = ("Describe", "Get", "List", "Search")
_READS_WITH_RESOURCES = {
    "DescribeCapacityBlockExtensionOfferings",
    "DescribeImageAttribute",
    "DescribeInstanceAttribute",
    "DescribeSnapshotAttribute",
    "DescribeVolumeAttribute",
    "DescribeVpcAttribute",
    "GetCapacityReservationUsage",
    "GetConsoleOutput",
    "GetInstanceUefiData",
    "GetLaunchTemplateData",
    "GetPasswordData",
}
"""All other reads are checked on `*`."""
_CREATED_TYPES: Mapping[str, tuple[str, ...]] = {
    "AllocateAddress": ("elastic-ip",),
    "CreateCapacityReservation": ("capacity-reservation",),
    "CreateImage": ("image",),
    "CreateLaunchTemplate": ("launch-template",),
    "CreateNetworkInterface": ("network-interface",),
    "CreateSecurityGroup": ("security-group",),
    "CreateSnapshot": ("snapshot",),
    "CreateSubnet": ("subnet",),
    "CreateVolume": ("volume",),
    "CreateVpc": ("vpc",),
    "PurchaseCapacityBlock": ("capacity-reservation",),
    "RunInstances": ("instance", "network-interface", "volume"),
}
_TYPES: Mapping[str, str] = {
    "ami": "image",
    "cr": "capacity-reservation",
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "i": "instance",
    "igw": "internet-gateway",
    "lt": "launch-template",
    "nat": "natgateway",
    "rtb": "route-table",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "snap": "snapshot",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
    "vpce": "vpc-endpoint",
}
"""Resource types by the prefix of their ids. A request that names none of these is checked on `*`."""
_WITHOUT_ACCOUNT = ("image", "snapshot")


def required_permissions(call: ApiCall) -> list[Request]:
    if call.operation.startswith(_READS) and call.operation not in _READS_WITH_RESOURCES:
        return [call.request("*")]
    parameters = _with_template(call) if call.operation == "RunInstances" else call.parameters
    if call.operation in ("CreateTags", "DeleteTags"):
        tags = request_tags(parameters.get("Tags"))
        return [_use(call, kind, name, tags) for kind, name in _used(call, parameters)] or [call.request("*")]
    tags_by_type = {
        specification.get("ResourceType", ""): specification.get("Tags")
        for specification in parameters.get("TagSpecifications") or []
    }
    created = [*_CREATED_TYPES.get(call.operation, ()), *({"security-group-rule"} & tags_by_type.keys())]
    return [
        *(_use(call, kind, name, {}) for kind, name in sorted(set(_used(call, parameters)))),
        *(call.request(_arn(call, kind, "*"), request_tags(tags_by_type.get(kind))) for kind in created),
        *(_tagging(call, kind, tags) for kind, tags in tags_by_type.items() if tags),
        *_passed_roles(call, parameters),
    ] or [call.request("*")]


def _use(call: ApiCall, kind: str, name: str, context: Mapping[str, Any]) -> Request:
    return call.request(_arn(call, kind, name), {**_tags_of(call, name), **context})


def _tagging(call: ApiCall, kind: str, tags: Any) -> Request:
    context = {**request_tags(tags), "ec2:CreateAction": call.operation}
    return call.request(_arn(call, kind, "*"), context, action="ec2:CreateTags")


def _backend(call: ApiCall) -> Any:
    return ec2_backends[call.account][call.region]


def _arn(call: ApiCall, kind: str, name: str) -> str:
    return call.arn(f"{kind}/{name}", account="" if kind in _WITHOUT_ACCOUNT else None)


def _with_template(call: ApiCall) -> Mapping[str, Any]:
    specification = call.parameters.get("LaunchTemplate")
    if not specification:
        return call.parameters
    try:
        data = deepcopy(dict(_backend(call)._get_template_from_args(specification).data))
    except EC2ClientError:
        return call.parameters
    return merge_template(call.parameters, data)


def _used(call: ApiCall, parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Types and ids of the resources that a request names: for a launch at any depth, else at the top level."""
    backend, is_launch = _backend(call), call.operation == "RunInstances"
    used = [(_TYPES[prefix], name) for prefix, name in _ids(parameters, nested=is_launch) if prefix in _TYPES]
    yield from used
    name = (parameters.get("LaunchTemplate") or parameters).get("LaunchTemplateName")
    if name and call.operation != "CreateLaunchTemplate":
        yield "launch-template", backend.launch_template_name_to_ids.get(name, name)
    if (name := parameters.get("GroupName")) and call.operation != "CreateSecurityGroup":
        group = backend.get_security_group_from_name(name)
        yield "security-group", group.id if group else name
    if is_launch:
        yield from ((kind, "*") for kind in {"subnet", "security-group"} - {kind for kind, _ in used})


def _ids(value: Any, *, nested: bool) -> Iterator[tuple[str, str]]:
    """The prefixes and ids among a request's values and lists of values; with `nested` in structures, too."""
    for item in value.values() if isinstance(value, Mapping) else value:
        if isinstance(item, str):
            if match := _ID.fullmatch(item):
                yield match[1], item
        elif isinstance(item, list) or (nested and isinstance(item, Mapping)):
            yield from _ids(item, nested=nested)


def _tags_of(call: ApiCall, resource_id: str) -> dict[str, str]:
    if resource_id.startswith("cr-"):
        blocks = call.world.market.blocks(call.region)
        block = next((block for block in blocks if block.reservation_id == resource_id), None)
        reservation = call.world.on_demand.find(call.region, resource_id) or block
        tags = reservation.tags if reservation else {}
    else:
        tags = dict(_backend(call).tags.get(resource_id, {}))
    return resource_tags(tags, "ec2:ResourceTag")


def _passed_roles(call: ApiCall, parameters: Mapping[str, Any]) -> Iterator[Request]:
    requested = parameters.get("IamInstanceProfile") or {}
    if call.operation not in ("RunInstances", "AssociateIamInstanceProfile", "ReplaceIamInstanceProfileAssociation"):
        return
    for profile in iam_backends[call.account][PARTITION].instance_profiles.values():
        if profile.name == requested.get("Name") or profile.arn == requested.get("Arn"):
            for role in profile.roles:
                yield call.request(role.arn, {"iam:PassedToService": "ec2.amazonaws.com"}, action="iam:PassRole")
