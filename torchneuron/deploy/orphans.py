"""Orphans: resources that have the project's tags and are in no Terraform state, with the commands that delete them.

Terraform saves its state every 20 seconds and at the end. Resources that a killed deploy created since the last save
are created again by the next deploy. Instances are imported then (`adoption`); the rest stays. It costs little or
nothing, except for data volumes. Tags do not say whether another deployment with the same project name uses it, so a
person has to delete it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore import xform_name

from torchneuron.aws.errors import calling
from torchneuron.aws.session import Aws
from torchneuron.core import display, tags
from torchneuron.core.errors import AwsError
from torchneuron.core.text import command
from torchneuron.deploy import inventory

_NOT_FOUND = "NoSuchEntity"  # IAM's code


@dataclass(frozen=True)
class Orphan:
    """A resource: its id as Terraform's state would have it, and the commands that delete it, in order."""

    id: str
    commands: tuple[str, ...]


def warn(aws: Aws, project: str, *, known: Collection[str]) -> None:
    """Warn of orphans with the project's tags in the region.

    `known` are ids that are no orphans: kept resources, and resources just deleted, which AWS may list for some
    seconds more. A lookup that fails is a warning as well.
    """
    errors: list[str] = []
    with display.waiting("Looking for orphaned resources"):
        volumes = _orphans(_volumes, aws, project, known, errors)
        others = [orphan for find in _FINDERS for orphan in _orphans(find, aws, project, known, errors)]
    if others:
        display.warn(
            "some resources have this project's tags and are in no state: a killed deploy left them, or another"
            f" deployment called {project} uses them. If nobody uses them, delete them:{_commands(others)}"
        )
    if volumes:
        display.warn(
            "data volumes with this project's tags are in no state, and cost money: --release-data or a killed deploy"
            f" left them, or another deployment called {project} keeps them. They may hold data. If nobody needs it,"
            f" delete them:{_commands(volumes)}"
        )
    if errors:
        display.warn(f"the search for orphaned resources is incomplete. {' '.join(errors)}")


_Finder = Callable[[Aws, str], Iterator[Orphan]]


def _orphans(find: _Finder, aws: Aws, project: str, known: Collection[str], errors: list[str]) -> list[Orphan]:
    """What `find` finds, without `known`, up to an AWS error, which is added to `errors`."""
    found: list[Orphan] = []
    try:
        for orphan in find(aws, project):
            if orphan.id not in known:
                found.append(orphan)
    except AwsError as error:
        errors.append(error.what)
    return found


def _commands(orphans: Sequence[Orphan]) -> str:
    return "".join(f"\n  {command}" for orphan in orphans for command in orphan.commands)


def _volumes(aws: Aws, project: str) -> Iterator[Orphan]:
    for id_ in inventory.unattached_data_volumes(aws, project):
        yield Orphan(id_, (_command(aws, "ec2 delete-volume", "--volume-id", id_),))


def _groups(aws: Aws, project: str) -> Iterator[Orphan]:
    filters = tags.filters(tags.for_project(project))
    for group in _list(aws.ec2(), "describe_security_groups", "SecurityGroups", Filters=filters):
        id_ = group["GroupId"]
        yield Orphan(id_, (_command(aws, "ec2 delete-security-group", "--group-id", id_),))


def _templates(aws: Aws, project: str) -> Iterator[Orphan]:
    filters = tags.filters(tags.for_project(project))
    for template in _list(aws.ec2(), "describe_launch_templates", "LaunchTemplates", Filters=filters):
        id_ = template["LaunchTemplateId"]
        yield Orphan(id_, (_command(aws, "ec2 delete-launch-template", "--launch-template-id", id_),))


def _secrets(aws: Aws, project: str) -> Iterator[Orphan]:
    delete = "secretsmanager delete-secret"
    for arn in inventory.secret_arns(aws, project):
        yield Orphan(arn, (_command(aws, delete, "--force-delete-without-recovery", "--secret-id", arn),))


def _profiles(aws: Aws, project: str) -> Iterator[Orphan]:
    for profile in _iam_resources(aws, project, "InstanceProfile"):
        name = profile["InstanceProfileName"]
        named, remove_role = ("--instance-profile-name", name), "iam remove-role-from-instance-profile"
        removals = [_command(aws, remove_role, *named, "--role-name", role["RoleName"]) for role in profile["Roles"]]
        yield Orphan(name, (*removals, _command(aws, "iam delete-instance-profile", *named)))


def _roles(aws: Aws, project: str) -> Iterator[Orphan]:
    for role in _iam_resources(aws, project, "Role"):
        name = role["RoleName"]
        named = ("--role-name", name)
        inline = _list(aws.iam(), "list_role_policies", "PolicyNames", RoleName=name)
        removals = [_command(aws, "iam delete-role-policy", *named, "--policy-name", policy) for policy in inline]
        # Earlier versions attached a managed policy.
        attached = _list(aws.iam(), "list_attached_role_policies", "AttachedPolicies", RoleName=name)
        detach = "iam detach-role-policy"
        removals += [_command(aws, detach, *named, "--policy-arn", policy["PolicyArn"]) for policy in attached]
        yield Orphan(name, (*removals, _command(aws, "iam delete-role", *named)))


# Profiles come before roles: a role in a profile cannot be deleted.
_FINDERS: tuple[_Finder, ...] = (_groups, _templates, _secrets, _profiles, _roles)


def _command(aws: Aws, operation: str, *arguments: str) -> str:
    """An AWS CLI command with the region, which IAM needs as well: it selects the AWS partition."""
    return command(f"aws {operation}", "--region", aws.region, *arguments)


def _list(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    with calling(operation.replace("_", " ")):
        yield from client.get_paginator(operation).paginate(**arguments).search(f"{key}[]")


def _iam_resources(aws: Aws, project: str, kind: str) -> Iterator[Any]:
    """IAM resources with the project's tags and this region's. IAM lists omit tags, so each one is read."""
    iam, operation = aws.iam(), xform_name(kind)
    wanted = {**tags.for_project(project), tags.REGION: aws.region}
    for item in _list(iam, f"list_{operation}s", f"{kind}s"):
        name = item[f"{kind}Name"]
        if not name.startswith(tags.role_prefix(project)):
            continue
        try:
            with calling(f"look up {name}"):
                resource = getattr(iam, f"get_{operation}")(**{f"{kind}Name": name})[kind]
        except AwsError as error:
            if error.code == _NOT_FOUND:
                continue
            raise
        if tags.has_tags(wanted, resource.get("Tags", [])):
            yield resource
