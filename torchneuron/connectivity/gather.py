"""Gathers what can be seen of instances that Systems Manager does not reach; `diagnosis` decides what it means.

Every look is for itself: one that AWS refuses becomes a fact that was not seen, and the others still tell. Instances
that share a profile, a subnet or security groups share the look at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from torchneuron.aws.ec2 import Instance, instances_by_id
from torchneuron.aws.errors import is_about_sign_in, reading, utc
from torchneuron.aws.session import Aws
from torchneuron.connectivity import remedies, routes
from torchneuron.connectivity.agent_role import look_at_role
from torchneuron.connectivity.facts import Facts, Registration, Role, Route, Unseen
from torchneuron.core.errors import AwsError
from torchneuron.core.text import quoted

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import SecurityGroupTypeDef
    from mypy_boto3_ssm import SSMClient

T = TypeVar("T")

# InstanceInformationFilterValueSet has 1 to 100 values, a page 5 to 50 instances (botocore's service model of SSM).
_VALUES = 100
_PAGE = 50


def registrations(ssm: SSMClient, instance_ids: Sequence[str]) -> dict[str, Registration]:
    """Those of the instances that Systems Manager knows, reached or not: a call for 50 of them."""
    found: dict[str, Registration] = {}
    for some in _parts(instance_ids):
        found.update(_registered(ssm, some))
    return found


def _registered(ssm: SSMClient, some: Sequence[str]) -> dict[str, Registration]:
    """At most a filter's values. An id that SSM refuses would hide the others: then they are asked for by halves."""
    try:
        with reading(f"ask whether Systems Manager reaches {some[0] if len(some) == 1 else 'the instances'}"):
            pages = ssm.get_paginator("describe_instance_information").paginate(
                Filters=[{"Key": "InstanceIds", "Values": list(some)}], PaginationConfig={"PageSize": _PAGE}
            )
            return {one["InstanceId"]: _registration(one) for page in pages for one in page["InstanceInformationList"]}
    except AwsError as error:
        if error.code not in ("InvalidInstanceId", "InvalidFilterValue"):
            raise
    if len(some) == 1:
        return {}
    middle = len(some) // 2
    return {**_registered(ssm, some[:middle]), **_registered(ssm, some[middle:])}


def _registration(raw: Mapping[str, Any]) -> Registration:
    last = raw.get("LastPingDateTime")
    return Registration(
        status=raw.get("PingStatus", ""),
        last_ping=utc(last) if last else None,
        agent_version=raw.get("AgentVersion", ""),
        is_windows=raw.get("PlatformType") == "Windows",
    )


def gather(aws: Aws, instance_ids: Sequence[str]) -> dict[str, Facts]:
    """All that can be seen of the instances, by their ids. AccessError only for a sign-in that has ended."""
    return _Looks(aws.brief()).at(instance_ids)


class _Looks:
    """Looks at everything once, and remembers what it saw."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._ec2 = aws.ec2()
        self._seen: dict[object, Any] = {}

    def at(self, ids: Sequence[str]) -> dict[str, Facts]:
        region, ssm = self._aws.region, self._aws.ssm()
        see = remedies.see_registration(region, ids[0])[0].removeprefix("See: ")
        known = self._once("ssm", see, lambda: registrations(ssm, ids))
        there = self._once("ec2", remedies.see_instance(region, " ".join(ids)), lambda: instances_by_id(self._ec2, ids))
        return {one: self._facts(one, _of(there, one), _of(known, one)) for one in ids}

    def _facts(self, one: str, instance: Instance | Unseen | None, registration: Registration | Unseen | None) -> Facts:
        facts = Facts(one, self._aws.region, instance, registration)
        if not isinstance(instance, Instance) or instance.state != "running" or instance.is_windows:
            return facts
        route = self._route(instance)
        leads_out = isinstance(route, Route) and routes.leads_out(route, has_public_ip=bool(instance.public_ip))
        return Facts(
            one,
            self._aws.region,
            instance,
            registration,
            role=self._role(instance),
            default_role=self._default_role(),
            egress=self._egress(instance),
            route=route,
            endpoints=frozenset() if leads_out else self._endpoints(instance),
        )

    def _once(self, key: object, see: str, look: Callable[[], T]) -> T | Unseen:
        """What `look` sees, or why it sees nothing. `see` is the command for who may."""
        if key not in self._seen:
            try:
                self._seen[key] = look()
            except AwsError as error:
                if is_about_sign_in(error):
                    raise
                self._seen[key] = Unseen(error.what, see)
        seen: T | Unseen = self._seen[key]
        return seen

    def _role(self, instance: Instance) -> Role | Unseen | None:
        if not (arn := instance.profile_arn):
            return None
        see = f"aws iam get-instance-profile --instance-profile-name {quoted(arn.rpartition('/')[2])}"
        return self._once(("profile", arn), see, lambda: look_at_role(self._aws.iam(), arn))

    def _default_role(self) -> str | Unseen:
        def look() -> str:
            with reading("look at Default Host Management Configuration"):
                answer = self._aws.ssm().get_service_setting(SettingId=remedies.DEFAULT_ROLE_SETTING)
                value = answer["ServiceSetting"].get("SettingValue", "")
            # "$None" is what it is where it was never turned on.
            return "" if value == "$None" else value

        return self._once("default", remedies.see_default_role(self._aws.region), look)

    def _egress(self, instance: Instance) -> bool | Unseen:
        ids = instance.security_group_ids

        def look() -> bool:
            with reading("look at its security groups"):
                groups = self._ec2.describe_security_groups(GroupIds=list(ids))["SecurityGroups"]
                return any(_lets_https_out(group) for group in groups)

        return self._once(("groups", ids), remedies.see_groups(self._aws.region, ids), look)

    def _route(self, instance: Instance) -> Route | Unseen:
        vpc_id, subnet_id = instance.vpc_id, instance.subnet_id
        see = remedies.see_routes(self._aws.region, vpc_id)
        return self._once(("subnet", subnet_id), see, lambda: routes.of_subnet(self._ec2, vpc_id, subnet_id))

    def _endpoints(self, instance: Instance) -> frozenset[str] | Unseen:
        vpc_id = instance.vpc_id
        see = remedies.see_endpoints(self._aws.region, vpc_id)
        return self._once(("vpc", vpc_id), see, lambda: routes.endpoints(self._ec2, vpc_id))


def _of(found: Mapping[str, T] | Unseen, one: str) -> T | Unseen | None:
    return found if isinstance(found, Unseen) else found.get(one)


def _lets_https_out(group: SecurityGroupTypeDef) -> bool:
    """To wherever: what is beyond its VPC, or an endpoint inside."""
    for rule in group.get("IpPermissionsEgress", []):
        if rule.get("IpProtocol") == "-1":
            return True
        if rule.get("IpProtocol") in ("tcp", "6") and rule.get("FromPort", 0) <= 443 <= rule.get("ToPort", 65535):
            return True
    return False


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _VALUES):
        yield ids[start : start + _VALUES]
