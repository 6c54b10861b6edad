"""What a deploy that was killed may have left in the account: in no state, so that nothing removes it.

Terraform writes its state down every 20 seconds and at its end. What it had made since then, when it was killed, the
next deploy makes anew under another name. A machine is taken over (`adoption`). The rest costs little or nothing, but
stays; that it is not another deployment's of the same name no tag can tell, so a person removes it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torchneuron import deployed, display, marks
from torchneuron.aws import Aws
from torchneuron.aws_errors import calling
from torchneuron.errors import AwsError

# IAM's word for what is not there, or not any more.
_GONE = "NoSuchEntity"


@dataclass(frozen=True)
class Left:
    """One thing that is left: the id that Terraform would know it by, and the commands that remove it, in order."""

    identity: str
    commands: tuple[str, ...]


def warn_of(aws: Aws, project: str, *, removed: Collection[str]) -> None:
    """Say what is left with the project's tags in the region, and how to remove it.

    `removed` are the ids of what was removed just now: AWS may list it for some seconds more. What cannot be looked at
    is said, too, and is no failure: what was asked for has been done.
    """
    found: list[Left] = []
    unseen: list[str] = []
    with display.waiting("Looking for what a killed deploy left"):
        for look in _LOOKS:
            try:
                found += look(aws, project)
            except AwsError as error:
                unseen.append(error.what)
    commands = [command for one in found if one.identity not in removed for command in one.commands]
    if commands:
        display.warn(
            f"some things have this project's tags, and are in no state: a deploy that was killed left them, or another"
            f" deployment called {project} has them. If nobody uses them, this removes them:\n  "
            + "\n  ".join(commands)
        )
    if unseen:
        display.warn(f"what a deploy that was killed may have left cannot be seen. {' '.join(unseen)}")


def _groups(aws: Aws, project: str) -> Iterator[Left]:
    remove = f"aws ec2 delete-security-group --region {aws.region} --group-id"
    ours = marks.filters(marks.of(project))
    for one in _listed(aws.ec2(), "describe_security_groups", "SecurityGroups", Filters=ours):
        yield Left(one["GroupId"], (f"{remove} {one['GroupId']}",))


def _templates(aws: Aws, project: str) -> Iterator[Left]:
    remove = f"aws ec2 delete-launch-template --region {aws.region} --launch-template-id"
    ours = marks.filters(marks.of(project))
    for one in _listed(aws.ec2(), "describe_launch_templates", "LaunchTemplates", Filters=ours):
        yield Left(one["LaunchTemplateId"], (f"{remove} {one['LaunchTemplateId']}",))


def _secrets(aws: Aws, project: str) -> Iterator[Left]:
    remove = f"aws secretsmanager delete-secret --region {aws.region} --force-delete-without-recovery --secret-id"
    for arn in deployed.secret_arns(aws, project):
        yield Left(arn, (f"{remove} {arn}",))


def _profiles(aws: Aws, project: str) -> Iterator[Left]:
    iam = aws.iam()
    for one in _listed(iam, "list_instance_profiles", "InstanceProfiles"):
        name = one["InstanceProfileName"]
        if _is_ours(aws, project, name, functools.partial(iam.get_instance_profile, InstanceProfileName=name)):
            take_out = f"aws iam remove-role-from-instance-profile --instance-profile-name {name} --role-name"
            roles = [f"{take_out} {role['RoleName']}" for role in one["Roles"]]
            yield Left(name, (*roles, f"aws iam delete-instance-profile --instance-profile-name {name}"))


def _roles(aws: Aws, project: str) -> Iterator[Left]:
    iam = aws.iam()
    for one in _listed(iam, "list_roles", "Roles"):
        name = one["RoleName"]
        if _is_ours(aws, project, name, functools.partial(iam.get_role, RoleName=name)):
            take_away = f"aws iam detach-role-policy --role-name {name} --policy-arn"
            policies = _listed(iam, "list_attached_role_policies", "AttachedPolicies", RoleName=name)
            taken = [f"{take_away} {policy['PolicyArn']}" for policy in policies]
            yield Left(name, (*taken, f"aws iam delete-role --role-name {name}"))


# A role cannot be deleted while it is in a profile: profiles come first.
_LOOKS: tuple[Callable[[Aws, str], Iterator[Left]], ...] = (_groups, _templates, _secrets, _profiles, _roles)


def _listed(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    with calling(operation.replace("_", " ")):
        yield from client.get_paginator(operation).paginate(**arguments).search(f"{key}[]")


def _is_ours(aws: Aws, project: str, name: str, get: Callable[[], Mapping[str, Any]]) -> bool:
    """Whether something of IAM's is the project's, in this region. Lists have no tags: each is got by itself."""
    if not name.startswith(marks.role_prefix(project)):
        return False
    try:
        with calling(f"look at {name}"):
            answer = get()
    except AwsError as error:
        if error.code == _GONE:
            return False
        raise
    whole = answer.get("InstanceProfile") or answer["Role"]
    return marks.are_in({**marks.of(project), marks.REGION: aws.region}, whole.get("Tags", []))
