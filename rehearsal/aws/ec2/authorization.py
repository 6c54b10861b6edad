"""Which actions EC2 checks for a request, on which resources, with which tags.

Sources
-------
- Resource types by action: Service Authorization Reference, "Actions, resources, and condition keys for Amazon EC2".
- RunInstances is checked on everything that the launch makes and uses, its template included: EC2 user guide, "Example
  policies to control access to the Amazon EC2 API", "Launch instances (RunInstances)". Subnets and groups that EC2
  chooses by itself are shown as `*`, which is assumed.
- CreateTags is checked on all that is tagged when it is made, with `ec2:CreateAction`: EC2 user guide, "Grant
  permission to tag Amazon EC2 resources during creation". Request tags are those of a resource's own type: the same.
- iam:PassRole for the role of a launch's profile: EC2 user guide, "IAM roles for Amazon EC2".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from rehearsal.aws.ec2.launches import laid_over
from rehearsal.aws.iam.access import Call, request_tags, resource_tags
from rehearsal.aws.iam.policies import Request
from rehearsal.aws.iam.principals import PARTITION

_ID = re.compile(r"([a-z]+)-[0-9a-f]{8,}")
_READS = ("Describe", "Get", "List", "Search")
_READS_OF_RESOURCES = {
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
_MADE: Mapping[str, tuple[str, ...]] = {
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
"""Resource types by what ids begin with. A request that names none of these is checked on `*`."""
_WITHOUT_ACCOUNT = ("image", "snapshot")


def requests(call: Call) -> list[Request]:
    """What is checked for a call to EC2."""
    if call.operation.startswith(_READS) and call.operation not in _READS_OF_RESOURCES:
        return [call.on("*")]
    parameters = _with_template(call) if call.operation == "RunInstances" else call.parameters
    if call.operation in ("CreateTags", "DeleteTags"):
        given = request_tags(parameters.get("Tags"))
        return [_on_existing(call, kind, name, given) for kind, name in _used(call, parameters)] or [call.on("*")]
    tags = {one.get("ResourceType", ""): one.get("Tags") for one in parameters.get("TagSpecifications") or []}
    new = [*_MADE.get(call.operation, ()), *(["security-group-rule"] if "security-group-rule" in tags else [])]
    return [
        *(_on_existing(call, kind, name, {}) for kind, name in sorted(set(_used(call, parameters)))),
        *(call.on(_arn(call, kind, "*"), request_tags(tags.get(kind))) for kind in new),
        *(_tagging(call, kind, pairs) for kind, pairs in tags.items() if pairs),
        *_passing(call, parameters),
    ] or [call.on("*")]


def _on_existing(call: Call, kind: str, name: str, given: Mapping[str, Any]) -> Request:
    return call.on(_arn(call, kind, name), {**_tags_of(call, name), **given})


def _tagging(call: Call, kind: str, tags: Any) -> Request:
    context = {**request_tags(tags), "ec2:CreateAction": call.operation}
    return call.on(_arn(call, kind, "*"), context, action="ec2:CreateTags")


def _backend(call: Call) -> Any:
    return ec2_backends[call.account][call.region]


def _arn(call: Call, kind: str, name: str) -> str:
    return call.arn(f"{kind}/{name}", account="" if kind in _WITHOUT_ACCOUNT else None)


def _with_template(call: Call) -> Mapping[str, Any]:
    chosen = call.parameters.get("LaunchTemplate")
    if not chosen:
        return call.parameters
    try:
        data = deepcopy(dict(_backend(call)._get_template_from_args(chosen).data))
    except EC2ClientError:
        return call.parameters
    return laid_over(call.parameters, data)


def _used(call: Call, parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Types and ids of what a request names: in a launch anywhere, else at its top."""
    backend, is_launch = _backend(call), call.operation == "RunInstances"
    found = [(_TYPES[prefix], name) for prefix, name in _ids(parameters, deep=is_launch) if prefix in _TYPES]
    yield from found
    name = (parameters.get("LaunchTemplate") or parameters).get("LaunchTemplateName")
    if name and call.operation != "CreateLaunchTemplate":
        yield "launch-template", backend.launch_template_name_to_ids.get(name, name)
    if (name := parameters.get("GroupName")) and call.operation != "CreateSecurityGroup":
        group = backend.get_security_group_from_name(name)
        yield "security-group", group.id if group else name
    if is_launch:
        yield from ((kind, "*") for kind in {"subnet", "security-group"} - {kind for kind, _ in found})


def _ids(value: Any, *, deep: bool) -> Iterator[tuple[str, str]]:
    """The prefixes and ids among a request's values and lists of values; with `deep` in structures, too."""
    for one in value.values() if isinstance(value, Mapping) else value:
        if isinstance(one, str):
            if found := _ID.fullmatch(one):
                yield found[1], one
        elif isinstance(one, list) or (deep and isinstance(one, Mapping)):
            yield from _ids(one, deep=deep)


def _tags_of(call: Call, name: str) -> dict[str, str]:
    if name.startswith("cr-"):
        blocks = [*call.world.market.blocks(call.region)]
        block = next((one for one in blocks if one.reservation_id == name), None)
        found = call.world.on_demand.find(call.region, name) or block
        tags = found.tags if found else {}
    else:
        tags = dict(_backend(call).tags.get(name, {}))
    return resource_tags(tags, "ec2:ResourceTag")


def _passing(call: Call, parameters: Mapping[str, Any]) -> Iterator[Request]:
    profile = parameters.get("IamInstanceProfile") or {}
    if call.operation not in ("RunInstances", "AssociateIamInstanceProfile", "ReplaceIamInstanceProfileAssociation"):
        return
    for one in iam_backends[call.account][PARTITION].instance_profiles.values():
        if one.name == profile.get("Name") or one.arn == profile.get("Arn"):
            for role in one.roles:
                yield call.on(role.arn, {"iam:PassedToService": "ec2.amazonaws.com"}, action="iam:PassRole")
