"""Why Systems Manager does not reach an instance: decided from facts that `gather` gathers, by them alone.

What an agent needs to register is a machine that runs, a role that lets it, a way to the SSM endpoints, and itself
(Systems Manager user guide, "Troubleshooting managed node availability"): they are looked at in that order, and the
first that is known to be missing is the verdict. What could not be looked at is told beside it, and taken for good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

from torchneuron.aws.ec2 import Instance
from torchneuron.connectivity import remedies
from torchneuron.connectivity.facts import Facts, Registration, Role, Route, Unseen

STARTING = timedelta(minutes=5)
"""How long after its start a machine may boot: a minute or two is usual, the largest types take some more."""
NEEDED_ENDPOINTS = ("ssm", "ssmmessages")
"""The endpoints without which no agent takes commands. Before 3.3.40.0 agents needed ec2messages, too (Systems Manager
user guide, "Improve the security of EC2 instances by using VPC endpoints")."""


class Cause(Enum):
    """What keeps an instance from being reached; the value is how a person is told."""

    ABSENT = "no such instance here"
    NOT_RUNNING = "not running"
    STARTING = "still starting"
    WINDOWS = "Windows"
    ROLE = "role"
    NETWORK = "network"
    AGENT = "agent"
    UNKNOWN = "unknown"


FINAL = frozenset({Cause.ABSENT, Cause.NOT_RUNNING, Cause.WINDOWS})
"""Causes that no waiting removes."""


@dataclass(frozen=True)
class Diagnosis:
    """What it is, why that is so, and the commands that show it and mend it: a line each in `do`."""

    cause: Cause
    why: str
    do: tuple[str, ...] = ()


def diagnose(facts: Facts) -> Diagnosis:
    """What keeps Systems Manager from reaching the instance that `facts` are about."""
    found = next(found for look in _LOOKS if (found := look(facts)))
    if found.cause in FINAL:
        return found
    return replace(found, why="\n".join([found.why, *_unseen(facts)]))


def _absent(facts: Facts) -> Diagnosis | None:
    if facts.instance is not None:
        return None
    return Diagnosis(
        Cause.ABSENT,
        f"EC2 has no instance {facts.instance_id} in {facts.region} in this account.",
        remedies.find_instance(facts.region),
    )


def _not_running(facts: Facts) -> Diagnosis | None:
    instance = facts.instance
    if not isinstance(instance, Instance) or instance.state in ("pending", "running"):
        return None
    reason = f": {instance.state_reason}" if instance.state_reason else ""
    stopped = instance.state in ("stopping", "stopped")
    do = remedies.start(facts.region, facts.instance_id) if stopped else ()
    return Diagnosis(Cause.NOT_RUNNING, f"It is {instance.state}{reason}.", do)


def _windows(facts: Facts) -> Diagnosis | None:
    known = (facts.instance, facts.registration)
    if not any(isinstance(one, Instance | Registration) and one.is_windows for one in known):
        return None
    return Diagnosis(Cause.WINDOWS, "It runs Windows, and tasks are shell scripts.", ("Name a Linux instance.",))


def _pending(facts: Facts) -> Diagnosis | None:
    if isinstance(facts.instance, Instance) and facts.instance.state == "pending":
        return Diagnosis(Cause.STARTING, "EC2 is starting it.")
    return None


def _no_role(facts: Facts) -> Diagnosis | None:
    """The agent has the profile's permissions, else those of Default Host Management Configuration.

    Source: Systems Manager user guide, "Managing EC2 instances automatically with Default Host Management
    Configuration": it is for agents from 3.2.582.0 on, and for instances with IMDSv2, and may take 30 minutes.
    """
    region, one = facts.region, facts.instance_id
    if isinstance(facts.instance, Instance) and not facts.instance.has_metadata_service:
        why = "Its instance metadata service is turned off, which is where its agent gets its credentials from."
        return Diagnosis(Cause.ROLE, why, remedies.turn_metadata_on(region, one))
    if facts.default_role and not isinstance(facts.default_role, Unseen):
        return None
    role, let_in = facts.role, ""
    do: tuple[str, ...] = ()
    if role is None:
        why, do = "It has no instance profile, so its agent has no credentials.", remedies.give_profile(region, one)
    elif isinstance(role, Unseen):
        return None
    elif not role.profile_exists:
        why, do = f"Its instance profile {role.profile} was deleted.", remedies.change_profile(region, one)
    elif not role.name:
        why, do = f"Its instance profile {role.profile} has no role in it.", remedies.fill_profile(role.profile)
    elif role.lets_agent_in is False:
        let_in = "ssm:UpdateInstanceInformation, and ssmmessages:OpenControlChannel or ec2messages:GetMessages"
        why, do = f"Its role {role.name} does not allow what an agent needs: {let_in}.", remedies.add_policy(role.name)
    else:
        return None
    default = "" if isinstance(facts.default_role, Unseen) else " Default Host Management Configuration is off, too."
    return Diagnosis(Cause.ROLE, why + default, (*do, *remedies.after_a_role(region, one)))


def no_network(facts: Facts) -> Diagnosis | None:
    """What its network lacks to reach Systems Manager. A machine yet to be launched has no `instance_id`."""
    instance, route = facts.instance, facts.route
    if not isinstance(instance, Instance):
        return None
    if facts.egress is False:
        why = f"None of its security groups ({', '.join(instance.security_group_ids)}) lets HTTPS out (TCP 443)."
        return Diagnosis(Cause.NETWORK, why, remedies.open_egress(facts.region, instance.security_group_ids))
    if isinstance(route, Unseen) or isinstance(facts.endpoints, Unseen):
        return None
    if (lacking := [one for one in NEEDED_ENDPOINTS if one not in facts.endpoints]) == []:
        return None
    if route.is_internet_gateway and not route.blackhole:
        if instance.public_ip:
            return None
        why = f"It has no public IP address, and its subnet's way out, {route.target}, needs one."
        if facts.instance_id:
            do = remedies.give_address(facts.region, facts.instance_id)
        else:
            do = remedies.give_addresses(facts.region, instance.subnet_id)
    elif route.blackhole:
        why = f"The default route of {instance.subnet_id} ({route.table_id}) leads to {route.target}, which is gone."
        do = remedies.give_route(facts.region, route.table_id, replaced=True)
    elif route.target:
        return None
    else:
        why = f"Its subnet {instance.subnet_id} has no default route ({route.table_id}): it has no way out."
        do = remedies.give_route(facts.region, route.table_id)
    why += f" {instance.vpc_id} has no endpoint of its own for {' and '.join(lacking)} either."
    return Diagnosis(Cause.NETWORK, why, (*do, *remedies.make_endpoints(facts.region, instance, lacking)))


def _young(facts: Facts) -> Diagnosis | None:
    instance = facts.instance
    if not isinstance(instance, Instance) or instance.uptime >= STARTING:
        return None
    why = f"It was started {instance.uptime.total_seconds():.0f} s ago; its agent needs some minutes to start."
    return Diagnosis(Cause.STARTING, why, remedies.see_boot(facts.region, facts.instance_id))


def _unknown(facts: Facts) -> Diagnosis | None:
    if isinstance(facts.instance, Instance) or isinstance(facts.registration, Registration):
        return None
    why = "Whether it is not running, or it is its role, its network or its agent, could not be looked at."
    return Diagnosis(Cause.UNKNOWN, why, remedies.see_registration(facts.region, facts.instance_id))


def _agent(facts: Facts) -> Diagnosis:
    """What is left. A role that came after the boot looks like this, too: `remedies.restart_agent` says so."""
    registration, do = facts.registration, remedies.restart_agent(facts.region, facts.instance_id)
    why = ("As far as could be looked at, its" if _unseen(facts) else "Its") + " role and network let it"
    if isinstance(registration, Registration):
        since = f" since {registration.last_ping:%Y-%m-%d %H:%M} UTC" if registration.last_ping else ""
        why += f", but its agent ({registration.agent_version or 'of unknown version'}) was not heard of{since}:"
        why += " it died, or the machine hangs."
    elif registration is None:
        why += ", but its agent never registered: it is not installed, not running, or was up before it had its role."
    else:
        why += ", so it is its agent."
    if isinstance(facts.route, Route) and facts.route.target and not facts.route.is_known:
        why += f" Its traffic leaves by {facts.route.target}: what is behind that has to let it get to SSM."
    return Diagnosis(Cause.AGENT, why + _by_default(facts), do)


def _by_default(facts: Facts) -> str:
    """What Default Host Management Configuration asks of an agent, where that is what lets it in (as `_no_role`)."""
    if isinstance(facts.default_role, Unseen) or not facts.default_role or _lets_in(facts.role):
        return ""
    return (
        f" What lets it in is Default Host Management Configuration ({facts.default_role}), which is for agents from"
        " 3.2.582.0 on, and takes up to half an hour."
    )


def _lets_in(role: Role | Unseen | None) -> bool:
    return isinstance(role, Role) and role.lets_agent_in is True and bool(role.name)


def _unseen(facts: Facts) -> list[str]:
    """A line for each fact that could not be looked at."""
    role = facts.role.lets_agent_in if isinstance(facts.role, Role) else facts.role
    facts_looked_at = (facts.instance, facts.registration, role, facts.default_role, facts.egress, facts.route)
    found = [one for one in (*facts_looked_at, facts.endpoints) if isinstance(one, Unseen) and one.why]
    return [f"{one.why} Who may look: {one.see}" for one in dict.fromkeys(found)]


_LOOKS: tuple[Callable[[Facts], Diagnosis | None], ...] = (
    _absent,
    _not_running,
    _windows,
    _pending,
    _no_role,
    no_network,
    _young,
    _unknown,
    _agent,
)
