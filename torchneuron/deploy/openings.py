"""To whom machines are open: what their security groups let in, whoever has written the rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from torchneuron.aws.errors import calling
from torchneuron.aws.session import Aws
from torchneuron.core import display
from torchneuron.core.config import Config
from torchneuron.core.errors import AccessError
from torchneuron.deploy import inventory
from torchneuron.deploy.inventory import Deployed

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import IpPermissionOutputTypeDef

_ANY_PROTOCOL, _TCP = "-1", ("tcp", "6")


def look(aws: Aws, config: Config, found: Deployed) -> Deployed:
    """The deployment with what its security groups let in now; where they cannot be read, as Terraform left them."""
    groups = {group for machine in found.machines for group in machine.security_group_ids}
    try:
        return dataclasses.replace(found, open_to=_sources(aws.ec2(), groups, config.served_ports))
    except AccessError as error:
        display.warn(f"who may reach the machine is not known for certain. {error.what}")
        return found


def opened(aws: Aws, config: Config, instance_ids: Sequence[str]) -> frozenset[str]:
    """Those of the instances whose nginx is for others than the machine itself.

    The project's own are so where their security groups let somebody in; any other instance goes by the settings'
    `allowedIps`, because its groups may be open for other reasons.
    """
    by_settings = frozenset(instance_ids if config.allowed_ips else ())
    try:
        ours = {one.instance_id: one for one in inventory.living(aws.ec2(), config.project_name)}
        by_groups: dict[frozenset[str], set[str]] = {}
        for instance_id in ours.keys() & set(instance_ids):
            by_groups.setdefault(frozenset(ours[instance_id].security_group_ids), set()).add(instance_id)
        found = set(by_settings - ours.keys())
        for groups, behind in by_groups.items():
            if _sources(aws.ec2(), groups, config.served_ports):
                found |= behind
        return frozenset(found)
    except AccessError as error:
        display.warn(f"whether the machine is open cannot be seen, so allowedIps in the settings decides. {error.what}")
        return by_settings


def _sources(ec2: EC2Client, group_ids: Collection[str], ports: Iterable[int]) -> tuple[str, ...]:
    """From where the groups let TCP connections to any of `ports` in, each once."""
    if not group_ids:
        return ()
    with calling("look at the security group"):
        pages = ec2.get_paginator("describe_security_groups").paginate(
            Filters=[{"Name": "group-id", "Values": sorted(group_ids)}]
        )
        rules = [rule for page in pages for group in page["SecurityGroups"] for rule in group["IpPermissions"]]
    matching = (rule for rule in rules if any(_covers(rule, port) for port in ports))
    return tuple(dict.fromkeys(source for rule in matching for source in _of(rule)))


def _covers(rule: IpPermissionOutputTypeDef, port: int) -> bool:
    if rule["IpProtocol"] == _ANY_PROTOCOL:
        return True
    return rule["IpProtocol"] in _TCP and rule.get("FromPort", 0) <= port <= rule.get("ToPort", 65535)


def _of(rule: IpPermissionOutputTypeDef) -> Iterator[str]:
    yield from (one["CidrIp"] for one in rule.get("IpRanges", []) if "CidrIp" in one)
    yield from (one["CidrIpv6"] for one in rule.get("Ipv6Ranges", []) if "CidrIpv6" in one)
    yield from (one["PrefixListId"] for one in rule.get("PrefixListIds", []) if "PrefixListId" in one)
    yield from (one["GroupId"] for one in rule.get("UserIdGroupPairs", []) if "GroupId" in one)
