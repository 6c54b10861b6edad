"""Who may connect to the instances: the sources that their security groups allow, whoever wrote the rules."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
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


def look_up(aws: Aws, config: Config, deployed: Deployed) -> Deployed:
    """The deployment with `open_to` read from its security groups; unchanged, with a warning, where that is denied."""
    groups = {group for instance in deployed.instances for group in instance.security_group_ids}
    try:
        return dataclasses.replace(deployed, open_to=_sources(aws.ec2(), groups, config.served_ports))
    except AccessError as error:
        display.warn(f"the security groups cannot be read; who may connect may have changed. {error.what}")
        return deployed


def open_instances(aws: Aws, config: Config, instance_ids: Sequence[str]) -> frozenset[str]:
    """Those of the instances whose nginx accepts connections from other machines.

    The project's own instances are open if their security groups allow any source. Any other instance is open if
    `allowedIps` in the settings is not empty, because its groups may allow sources for other reasons.
    """
    open_by_settings = frozenset(instance_ids if config.allowed_ips else ())
    try:
        own = {instance.instance_id: instance for instance in inventory.live_instances(aws.ec2(), config.project_name)}
        by_groups: dict[frozenset[str], set[str]] = defaultdict(set)
        for instance_id in own.keys() & set(instance_ids):
            by_groups[frozenset(own[instance_id].security_group_ids)].add(instance_id)
        found = set(open_by_settings - own.keys())
        for groups, members in by_groups.items():
            if _sources(aws.ec2(), groups, config.served_ports):
                found |= members
        return frozenset(found)
    except AccessError as error:
        display.warn(f"the security groups cannot be read; allowedIps in the settings is used instead. {error.what}")
        return open_by_settings


def _sources(ec2: EC2Client, group_ids: Collection[str], ports: Iterable[int]) -> tuple[str, ...]:
    """The sources that the groups allow TCP connections from, to any of `ports`, without duplicates."""
    if not group_ids:
        return ()
    with calling("look up security groups"):
        pages = ec2.get_paginator("describe_security_groups").paginate(
            Filters=[{"Name": "group-id", "Values": sorted(group_ids)}]
        )
        rules = [rule for page in pages for group in page["SecurityGroups"] for rule in group["IpPermissions"]]
    matching = (rule for rule in rules if any(_allows(rule, port) for port in ports))
    return tuple(dict.fromkeys(source for rule in matching for source in _rule_sources(rule)))


def _allows(rule: IpPermissionOutputTypeDef, port: int) -> bool:
    if rule["IpProtocol"] == _ANY_PROTOCOL:
        return True
    return rule["IpProtocol"] in _TCP and rule.get("FromPort", 0) <= port <= rule.get("ToPort", 65535)


def _rule_sources(rule: IpPermissionOutputTypeDef) -> Iterator[str]:
    yield from (source["CidrIp"] for source in rule.get("IpRanges", []) if "CidrIp" in source)
    yield from (source["CidrIpv6"] for source in rule.get("Ipv6Ranges", []) if "CidrIpv6" in source)
    yield from (source["PrefixListId"] for source in rule.get("PrefixListIds", []) if "PrefixListId" in source)
    yield from (source["GroupId"] for source in rule.get("UserIdGroupPairs", []) if "GroupId" in source)
