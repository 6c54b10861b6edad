"""Looks up facts about instances that Systems Manager does not reach; `diagnosis` interprets them.

A lookup that AWS denies becomes an `Unknown` fact, and the others continue. Instances that share a profile, a subnet or
security groups share the lookup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from torchneuron.aws.ec2 import Instance, instances_by_id
from torchneuron.aws.errors import is_about_sign_in, reading, utc
from torchneuron.aws.session import Aws
from torchneuron.connectivity import remedies, routes
from torchneuron.connectivity.agent_role import look_up_role
from torchneuron.connectivity.facts import Facts, Registration, Role, Route, Unknown
from torchneuron.core.errors import AwsError
from torchneuron.core.text import quoted

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import SecurityGroupTypeDef
    from mypy_boto3_ssm import SSMClient

T = TypeVar("T")

# botocore's service model of SSM: InstanceInformationFilterValueSet has 1 to 100 values, a page 5 to 50 instances.
_MAX_FILTER_VALUES = 100
_PAGE_SIZE = 50


def registrations(ssm: SSMClient, instance_ids: Sequence[str]) -> dict[str, Registration]:
    """Those of the instances that Systems Manager knows, online or not. One call per 50 instances."""
    found: dict[str, Registration] = {}
    for ids in _chunks(instance_ids):
        found |= _registrations(ssm, ids)
    return found


def _registrations(ssm: SSMClient, ids: Sequence[str]) -> dict[str, Registration]:
    """For at most one filter's values. SSM rejects the whole call for an invalid id, so halves are tried then."""
    try:
        with reading(f"look up {ids[0] if len(ids) == 1 else 'instances'} in Systems Manager"):
            pages = ssm.get_paginator("describe_instance_information").paginate(
                Filters=[{"Key": "InstanceIds", "Values": list(ids)}], PaginationConfig={"PageSize": _PAGE_SIZE}
            )
            return {raw["InstanceId"]: _registration(raw) for page in pages for raw in page["InstanceInformationList"]}
    except AwsError as error:
        if error.code not in ("InvalidInstanceId", "InvalidFilterValue"):
            raise
    if len(ids) == 1:
        return {}
    middle = len(ids) // 2
    return {**_registrations(ssm, ids[:middle]), **_registrations(ssm, ids[middle:])}


def _registration(raw: Mapping[str, Any]) -> Registration:
    last_ping = raw.get("LastPingDateTime")
    return Registration(
        status=raw.get("PingStatus", ""),
        last_ping=utc(last_ping) if last_ping else None,
        agent_version=raw.get("AgentVersion", ""),
        is_windows=raw.get("PlatformType") == "Windows",
    )


def facts(aws: Aws, instance_ids: Sequence[str]) -> dict[str, Facts]:
    """The facts about each instance, by id. Raises AccessError only if the sign-in has ended."""
    return _Lookup(aws.brief()).facts(instance_ids)


class _Lookup:
    """Looks up each fact once."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._region = aws.region
        self._ec2 = aws.ec2()
        self._found: dict[object, Any] = {}

    def facts(self, ids: Sequence[str]) -> dict[str, Facts]:
        region, ssm = self._region, self._aws.ssm()
        registered = self._once(
            "registrations", remedies.describe_registration(region, ids[0]), lambda: registrations(ssm, ids)
        )
        instances = self._once(
            "instances",
            remedies.describe_instances(region, *ids),
            lambda: instances_by_id(self._ec2, ids),
        )
        return {id_: self._facts(id_, _get(instances, id_), _get(registered, id_)) for id_ in ids}

    def _facts(
        self, instance_id: str, instance: Instance | Unknown | None, registration: Registration | Unknown | None
    ) -> Facts:
        if not isinstance(instance, Instance) or instance.state != "running" or instance.is_windows:
            return Facts(instance_id, self._region, instance, registration)
        route = self._route(instance)
        leads_out = isinstance(route, Route) and routes.leads_out(route, has_public_ip=bool(instance.public_ip))
        return Facts(
            instance_id,
            self._region,
            instance,
            registration,
            role=self._role(instance),
            default_role=self._default_role(),
            allows_https_out=self._allows_https_out(instance),
            route=route,
            endpoints=frozenset() if leads_out else self._endpoints(instance),
        )

    def _once(self, key: object, command: str, look_up: Callable[[], T]) -> T | Unknown:
        """The result of `look_up`, or why it failed. `command` is the AWS CLI command that shows the same."""
        if key not in self._found:
            try:
                self._found[key] = look_up()
            except AwsError as error:
                if is_about_sign_in(error):
                    raise
                self._found[key] = Unknown(error.what, command)
        found: T | Unknown = self._found[key]
        return found

    def _role(self, instance: Instance) -> Role | Unknown | None:
        if not (arn := instance.profile_arn):
            return None
        command = f"aws iam get-instance-profile --instance-profile-name {quoted(arn.rpartition('/')[2])}"
        return self._once(("profile", arn), command, lambda: look_up_role(self._aws.iam(), arn))

    def _default_role(self) -> str | Unknown:
        def look_up() -> str:
            with reading("look up Default Host Management Configuration"):
                response = self._aws.ssm().get_service_setting(SettingId=remedies.DEFAULT_ROLE_SETTING)
                value = response["ServiceSetting"].get("SettingValue", "")
            # "$None": it was never turned on.
            return "" if value == "$None" else value

        return self._once("default role", remedies.describe_default_role(self._region), look_up)

    def _allows_https_out(self, instance: Instance) -> bool | Unknown:
        ids = instance.security_group_ids

        def look_up() -> bool:
            with reading("look up security groups"):
                groups = self._ec2.describe_security_groups(GroupIds=list(ids))["SecurityGroups"]
                return any(_allows_https_out(group) for group in groups)

        return self._once(("groups", ids), remedies.describe_groups(self._region, ids), look_up)

    def _route(self, instance: Instance) -> Route | Unknown:
        vpc_id, subnet_id = instance.vpc_id, instance.subnet_id
        command = remedies.describe_routes(self._region, vpc_id)
        return self._once(("subnet", subnet_id), command, lambda: routes.default_route(self._ec2, vpc_id, subnet_id))

    def _endpoints(self, instance: Instance) -> frozenset[str] | Unknown:
        vpc_id = instance.vpc_id
        command = remedies.describe_endpoints(self._region, vpc_id)
        return self._once(("vpc", vpc_id), command, lambda: routes.endpoints(self._ec2, vpc_id))


def _get(found: Mapping[str, T] | Unknown, instance_id: str) -> T | Unknown | None:
    return found if isinstance(found, Unknown) else found.get(instance_id)


def _allows_https_out(group: SecurityGroupTypeDef) -> bool:
    """To any destination: the internet, or an endpoint inside the VPC."""
    for rule in group.get("IpPermissionsEgress", []):
        if rule.get("IpProtocol") == "-1":
            return True
        if rule.get("IpProtocol") in ("tcp", "6") and rule.get("FromPort", 0) <= 443 <= rule.get("ToPort", 65535):
            return True
    return False


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _MAX_FILTER_VALUES):
        yield ids[start : start + _MAX_FILTER_VALUES]
