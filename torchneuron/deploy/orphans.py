"""What a deploy that was killed may have left in the account: in no state, so that nothing removes it.

Terraform writes its state down every 20 seconds and at its end. What it had made since then, when it was killed, the
next deploy makes anew under another name. A machine is taken over (`adoption`). The rest costs little or nothing, but
for a data volume, and stays; that it is not another deployment's of the same name no tag can tell, so a person removes
it.
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

# IAM's word for what is not there, or not any more.
_GONE = "NoSuchEntity"


@dataclass(frozen=True)
class Left:
    """One thing that is left: the id that Terraform would know it by, and the commands that remove it, in order."""

    identity: str
    commands: tuple[str, ...]


def warn(aws: Aws, project: str, *, known: Collection[str]) -> None:
    """Say what is left with the project's tags in the region, and how to remove it.

    `known` are the ids of what is kept, and of what was removed just now: AWS may list it for some seconds more. What
    cannot be looked at is said, too, and is no failure: what was asked for has been done.
    """
    unseen: list[str] = []
    with display.waiting("Looking for what a killed deploy left"):
        volumes = _found(_volumes, aws, project, known, unseen)
        others = [one for look in _LOOKS for one in _found(look, aws, project, known, unseen)]
    if others:
        display.warn(
            "some things have this project's tags, and are in no state: a deploy that was killed left them, or another"
            f" deployment called {project} has them. If nobody uses them, this removes them:{_removing(others)}"
        )
    if volumes:
        display.warn(
            "data volumes with this project's tags are in no state, and cost money: --release-data or a deploy that was"
            f" killed left them, or another deployment called {project} keeps them. There may be data on them. If"
            f" nobody needs it, this removes them:{_removing(volumes)}"
        )
    if unseen:
        display.warn(f"what a deploy that was killed may have left cannot be seen. {' '.join(unseen)}")


_Look = Callable[[Aws, str], Iterator[Left]]


def _found(look: _Look, aws: Aws, project: str, known: Collection[str], unseen: list[str]) -> list[Left]:
    """What a look finds that is not `known`; what keeps it from looking goes to `unseen`."""
    found: list[Left] = []
    try:
        for one in look(aws, project):
            if one.identity not in known:
                found.append(one)
    except AwsError as error:
        unseen.append(error.what)
    return found


def _removing(found: Sequence[Left]) -> str:
    return "".join(f"\n  {command}" for one in found for command in one.commands)


def _volumes(aws: Aws, project: str) -> Iterator[Left]:
    for identity in inventory.unattached_data_volumes(aws, project):
        yield Left(identity, (_command(aws, "ec2 delete-volume", "--volume-id", identity),))


def _groups(aws: Aws, project: str) -> Iterator[Left]:
    ours = tags.filters(tags.for_project(project))
    for one in _listed(aws.ec2(), "describe_security_groups", "SecurityGroups", Filters=ours):
        yield Left(one["GroupId"], (_command(aws, "ec2 delete-security-group", "--group-id", one["GroupId"]),))


def _templates(aws: Aws, project: str) -> Iterator[Left]:
    ours = tags.filters(tags.for_project(project))
    for one in _listed(aws.ec2(), "describe_launch_templates", "LaunchTemplates", Filters=ours):
        identity = one["LaunchTemplateId"]
        yield Left(identity, (_command(aws, "ec2 delete-launch-template", "--launch-template-id", identity),))


def _secrets(aws: Aws, project: str) -> Iterator[Left]:
    remove = "secretsmanager delete-secret"
    for arn in inventory.secret_arns(aws, project):
        yield Left(arn, (_command(aws, remove, "--force-delete-without-recovery", "--secret-id", arn),))


def _profiles(aws: Aws, project: str) -> Iterator[Left]:
    for one in _ours_in_iam(aws, project, "InstanceProfile"):
        name = one["InstanceProfileName"]
        which, take_out = ("--instance-profile-name", name), "iam remove-role-from-instance-profile"
        emptied = [_command(aws, take_out, *which, "--role-name", role["RoleName"]) for role in one["Roles"]]
        yield Left(name, (*emptied, _command(aws, "iam delete-instance-profile", *which)))


def _roles(aws: Aws, project: str) -> Iterator[Left]:
    for one in _ours_in_iam(aws, project, "Role"):
        name = one["RoleName"]
        which = ("--role-name", name)
        inline = _listed(aws.iam(), "list_role_policies", "PolicyNames", RoleName=name)
        freed = [_command(aws, "iam delete-role-policy", *which, "--policy-name", policy) for policy in inline]
        # As earlier versions had it.
        attached = _listed(aws.iam(), "list_attached_role_policies", "AttachedPolicies", RoleName=name)
        take_away = "iam detach-role-policy"
        freed += [_command(aws, take_away, *which, "--policy-arn", policy["PolicyArn"]) for policy in attached]
        yield Left(name, (*freed, _command(aws, "iam delete-role", *which)))


# A role cannot be deleted while it is in a profile: profiles come first.
_LOOKS: tuple[_Look, ...] = (_groups, _templates, _secrets, _profiles, _roles)


def _command(aws: Aws, operation: str, *words: str) -> str:
    """With the region, IAM's too: it says in which of AWS's partitions the account is."""
    return command(f"aws {operation}", "--region", aws.region, *words)


def _listed(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    with calling(operation.replace("_", " ")):
        yield from client.get_paginator(operation).paginate(**arguments).search(f"{key}[]")


def _ours_in_iam(aws: Aws, project: str, kind: str) -> Iterator[Any]:
    """What IAM has of a kind that is the project's, in this region. Lists have no tags: each is got by itself."""
    iam, word = aws.iam(), xform_name(kind)
    ours = {**tags.for_project(project), tags.REGION: aws.region}
    for listed in _listed(iam, f"list_{word}s", f"{kind}s"):
        name = listed[f"{kind}Name"]
        if not name.startswith(tags.role_prefix(project)):
            continue
        try:
            with calling(f"look at {name}"):
                whole = getattr(iam, f"get_{word}")(**{f"{kind}Name": name})[kind]
        except AwsError as error:
            if error.code == _GONE:
                continue
            raise
        if tags.has_tags(ours, whole.get("Tags", [])):
            yield whole
