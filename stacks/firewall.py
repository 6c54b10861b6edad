"""The security group, with no inbound rules unless addresses are allowed."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from constructs import Construct

from stacks.provider import SecurityGroup, SecurityGroupEgress, SecurityGroupIngress
from torchneuron.core import tags


class Firewall(Construct):
    """Allows all outbound traffic, and inbound traffic from `allowed_ips` to `ports`, which are keyed by description.

    The rules are inline, so that Terraform removes rules that were added by hand.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        project: str,
        vpc_id: str | None,
        ports: Mapping[str, int],
        allowed_ips: Sequence[str],
    ) -> None:
        super().__init__(scope, name)
        group = SecurityGroup(
            self,
            "group",
            name_prefix=tags.name_prefix(project),
            description="code-server: closed but for the addresses named at deployment",
            vpc_id=vpc_id,
            ingress=_ingress(allowed_ips, ports=ports),
            egress=[
                SecurityGroupEgress(
                    description="anywhere",
                    protocol="-1",
                    from_port=0,
                    to_port=0,
                    cidr_blocks=["0.0.0.0/0"],
                    ipv6_cidr_blocks=["::/0"],
                )
            ],
        )
        group.override_logical_id("machine")
        self.group_id = group.id


def _ingress(allowed_ips: Sequence[str], *, ports: Mapping[str, int]) -> list[SecurityGroupIngress]:
    if not allowed_ips:
        return []
    by_version: dict[int, list[str]] = {4: [], 6: []}
    for cidr in allowed_ips:
        by_version[ipaddress.ip_network(cidr).version].append(cidr)
    return [
        SecurityGroupIngress(
            description=description,
            protocol="tcp",
            from_port=port,
            to_port=port,
            cidr_blocks=by_version[4],
            ipv6_cidr_blocks=by_version[6],
        )
        for description, port in ports.items()
    ]
