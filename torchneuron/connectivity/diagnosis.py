"""Why Systems Manager does not reach an instance, derived from facts alone.

An agent registers if the instance runs, its role allows it, its network leads to the SSM endpoints and the agent itself
runs (Systems Manager user guide, "Troubleshooting managed node availability"). The checks run in that order, and the
first that fails is the cause. Facts that could not be looked up are assumed to be fine and are listed in the diagnosis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

from torchneuron.aws.ec2 import Instance
from torchneuron.connectivity import remedies
from torchneuron.connectivity.facts import Facts, Registration, Role, Route, Unknown

BOOT_TIME = timedelta(minutes=5)
"""How long a boot may take: a minute or two is usual, the largest types take longer."""
NEEDED_ENDPOINTS = ("ssm", "ssmmessages")
"""The endpoints that agents need to take commands. Agents before 3.3.40.0 needed ec2messages as well (Systems Manager
user guide, "Improve the security of EC2 instances by using VPC endpoints")."""
_AGENT_ACTIONS = "ssm:UpdateInstanceInformation, and ssmmessages:OpenControlChannel or ec2messages:GetMessages"


class Cause(Enum):
    """Why an instance is not reached; the value is for messages."""

    ABSENT = "instance not found"
    NOT_RUNNING = "not running"
    STARTING = "still starting"
    WINDOWS = "Windows is not supported"
    ROLE = "role problem"
    NETWORK = "network problem"
    AGENT = "SSM agent problem"
    UNKNOWN = "unknown cause"


FINAL = frozenset({Cause.ABSENT, Cause.NOT_RUNNING, Cause.WINDOWS})
"""Causes that do not go away by waiting."""


@dataclass(frozen=True)
class Diagnosis:
    """The cause, the reason in words, and the commands that check and fix it, one a line."""

    cause: Cause
    why: str
    do: tuple[str, ...] = ()


def diagnose(facts: Facts) -> Diagnosis:
    """Why Systems Manager does not reach the instance."""
    found = next(found for check in _CHECKS if (found := check(facts)))
    if found.cause in FINAL:
        return found
    return replace(found, why="\n".join([found.why, *_unknown_facts(facts)]))


def _absent(facts: Facts) -> Diagnosis | None:
    if facts.instance is not None:
        return None
    why = f"EC2 has no instance {facts.instance_id} in {facts.region} in this account."
    return Diagnosis(Cause.ABSENT, why, remedies.list_instances(facts.region))


def _not_running(facts: Facts) -> Diagnosis | None:
    instance = facts.instance
    if not isinstance(instance, Instance) or instance.state in ("pending", "running"):
        return None
    reason = f": {instance.state_reason}" if instance.state_reason else ""
    is_stopped = instance.state in ("stopping", "stopped")
    do = remedies.start(facts.region, facts.instance_id) if is_stopped else ()
    return Diagnosis(Cause.NOT_RUNNING, f"It is {instance.state}{reason}.", do)


def _windows(facts: Facts) -> Diagnosis | None:
    sources = (facts.instance, facts.registration)
    if not any(isinstance(source, Instance | Registration) and source.is_windows for source in sources):
        return None
    return Diagnosis(Cause.WINDOWS, "It runs Windows; tasks are shell scripts.", ("Name a Linux instance.",))


def _pending(facts: Facts) -> Diagnosis | None:
    if isinstance(facts.instance, Instance) and facts.instance.state == "pending":
        return Diagnosis(Cause.STARTING, "EC2 is starting it.")
    return None


def _no_role(facts: Facts) -> Diagnosis | None:
    """The agent uses the instance profile's permissions, or those of Default Host Management Configuration.

    Source: Systems Manager user guide, "Managing EC2 instances automatically with Default Host Management
    Configuration". It needs agent 3.2.582.0 and IMDSv2, and may take 30 minutes.
    """
    region, instance_id = facts.region, facts.instance_id
    if isinstance(facts.instance, Instance) and not facts.instance.has_metadata_service:
        why = "Its instance metadata service is off, so its agent cannot get credentials."
        return Diagnosis(Cause.ROLE, why, remedies.enable_metadata_service(region, instance_id))
    if facts.default_role and not isinstance(facts.default_role, Unknown):
        return None
    role = facts.role
    if isinstance(role, Unknown):
        return None
    if role is None:
        why = "It has no instance profile, so its agent has no credentials."
        do = remedies.attach_profile(region, instance_id)
    elif not role.profile_exists:
        why, do = f"Its instance profile {role.profile} was deleted.", remedies.replace_profile(region, instance_id)
    elif not role.name:
        why, do = f"Its instance profile {role.profile} has no role.", remedies.add_role(role.profile)
    elif role.allows_agent is False:
        why = f"Its role {role.name} does not allow what the agent needs: {_AGENT_ACTIONS}."
        do = remedies.attach_policy(role.name)
    else:
        return None
    default = (
        "" if isinstance(facts.default_role, Unknown) else " Default Host Management Configuration is off as well."
    )
    return Diagnosis(Cause.ROLE, why + default, (*do, *remedies.retry_after_role_change(region, instance_id)))


def no_network(facts: Facts) -> Diagnosis | None:
    """Why its network does not lead to Systems Manager. `instance_id` is empty for an instance not launched yet."""
    instance, route = facts.instance, facts.route
    if not isinstance(instance, Instance):
        return None
    if facts.allows_https_out is False:
        groups = instance.security_group_ids
        why = f"None of its security groups ({', '.join(groups)}) allows outbound HTTPS (TCP 443)."
        return Diagnosis(Cause.NETWORK, why, remedies.allow_https_out(facts.region, groups))
    if isinstance(route, Unknown) or isinstance(facts.endpoints, Unknown):
        return None
    missing = [service for service in NEEDED_ENDPOINTS if service not in facts.endpoints]
    if not missing:
        return None
    if route.is_internet_gateway and not route.is_blackhole:
        if instance.public_ip:
            return None
        why = f"It has no public IP address, which the default route of its subnet ({route.target}) requires."
        if facts.instance_id:
            do = remedies.associate_address(facts.region, facts.instance_id)
        else:
            do = remedies.assign_public_ips(facts.region, instance.subnet_id)
    elif route.is_blackhole:
        why = f"The target {route.target} of the default route of {instance.subnet_id} ({route.table_id}) was deleted."
        do = remedies.set_default_route(facts.region, route.table_id, replace=True)
    elif route.target:
        return None
    else:
        why = f"Its subnet {instance.subnet_id} has no default route ({route.table_id})."
        do = remedies.set_default_route(facts.region, route.table_id)
    why += f" {instance.vpc_id} has no endpoint for {' and '.join(missing)} either."
    return Diagnosis(Cause.NETWORK, why, (*do, *remedies.create_endpoints(facts.region, instance, missing)))


def _booting(facts: Facts) -> Diagnosis | None:
    instance = facts.instance
    if not isinstance(instance, Instance) or instance.uptime >= BOOT_TIME:
        return None
    why = f"It started {instance.uptime.total_seconds():.0f} s ago; its agent needs some minutes to start."
    return Diagnosis(Cause.STARTING, why, remedies.show_console(facts.region, facts.instance_id))


def _unknown(facts: Facts) -> Diagnosis | None:
    if isinstance(facts.instance, Instance) or isinstance(facts.registration, Registration):
        return None
    why = "Its state, role, network and agent could not be looked up."
    return Diagnosis(Cause.UNKNOWN, why, remedies.check_registration(facts.region, facts.instance_id))


def _agent(facts: Facts) -> Diagnosis:
    """The cause if all else is fine. A role attached after the boot looks the same: `remedies.restart_agent`."""
    registration, do = facts.registration, remedies.restart_agent(facts.region, facts.instance_id)
    why = ("As far as is known, its" if _unknown_facts(facts) else "Its") + " role and network are fine"
    if isinstance(registration, Registration):
        since = f" since {registration.last_ping:%Y-%m-%d %H:%M} UTC" if registration.last_ping else ""
        version = registration.agent_version or "unknown version"
        why += f", but its agent ({version}) has not responded{since}: the agent crashed or the instance hangs."
    elif registration is None:
        why += (
            ", but its agent never registered: it is not installed or not running, or it started before it had"
            " its role."
        )
    else:
        why += ", so the problem is its agent."
    if isinstance(facts.route, Route) and facts.route.target and not facts.route.leads_to_internet:
        why += f" Its traffic leaves through {facts.route.target}, which must allow it to reach SSM."
    return Diagnosis(Cause.AGENT, why + _default_role_limits(facts), do)


def _default_role_limits(facts: Facts) -> str:
    """The limits of Default Host Management Configuration (see `_no_role`), if the agent depends on it."""
    if isinstance(facts.default_role, Unknown) or not facts.default_role or _is_sufficient(facts.role):
        return ""
    return (
        f" Its permissions come from Default Host Management Configuration ({facts.default_role}), which needs agent"
        " 3.2.582.0 or newer and takes up to 30 minutes."
    )


def _is_sufficient(role: Role | Unknown | None) -> bool:
    return isinstance(role, Role) and role.allows_agent is True and bool(role.name)


def _unknown_facts(facts: Facts) -> list[str]:
    """A line for each fact that could not be looked up."""
    role = facts.role.allows_agent if isinstance(facts.role, Role) else facts.role
    looked_up = (
        *(facts.instance, facts.registration, role, facts.default_role),
        *(facts.allows_https_out, facts.route, facts.endpoints),
    )
    unknown = [fact for fact in looked_up if isinstance(fact, Unknown) and fact.error]
    return [f"{fact.error} To check it: {fact.command}" for fact in dict.fromkeys(unknown)]


_CHECKS: tuple[Callable[[Facts], Diagnosis | None], ...] = (
    _absent,
    _not_running,
    _windows,
    _pending,
    _no_role,
    no_network,
    _booting,
    _unknown,
    _agent,
)
