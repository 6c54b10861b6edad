"""Whether the policies of an instance's role let its SSM agent register and take commands.

Three permissions decide it. The rest of AmazonSSMManagedInstanceCore is for features that setup does not use (Systems
Manager user guide, "Reference: ec2messages, ssmmessages, and other API operations").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torchneuron.aws.errors import calling, is_about_sign_in
from torchneuron.connectivity.facts import Role, Unknown
from torchneuron.core.errors import AwsError
from torchneuron.core.text import quoted

# AWS managed policies that suffice, so that their documents are not read.
_SUFFICIENT = {"AdministratorAccess", "AmazonSSMManagedEC2InstanceDefaultPolicy", "AmazonSSMManagedInstanceCore"}
_REGISTER = "ssm:UpdateInstanceInformation"
_TAKE_COMMANDS = ("ssmmessages:OpenControlChannel", "ec2messages:GetMessages")


def look_up_role(iam: Any, profile_arn: str) -> Role:
    """The role of an instance profile. Raises AwsError if the profile cannot be read."""
    profile = profile_arn.rpartition("/")[2]
    try:
        with calling(f"look up the instance profile {profile}"):
            roles = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    except AwsError as error:
        if error.code != "NoSuchEntity":
            raise
        return Role(profile, "", profile_exists=False)
    if not roles:
        return Role(profile, "")
    name = roles[0]["RoleName"]
    try:
        return Role(profile, name, _is_sufficient(iam, name))
    except AwsError as error:
        if is_about_sign_in(error):
            raise
        command = f"aws iam list-attached-role-policies --role-name {quoted(name)}"
        return Role(profile, name, Unknown(error.what, command))


def _is_sufficient(iam: Any, role: str) -> bool:
    with calling(f"look up the policies of the role {role}"):
        pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=role)
        attached = [policy for page in pages for policy in page["AttachedPolicies"]]
        if any(policy["PolicyName"] in _SUFFICIENT for policy in attached):
            return True
        return allows_agent([*_attached_documents(iam, attached), *_inline_documents(iam, role)])


def _attached_documents(iam: Any, policies: Iterable[Mapping[str, str]]) -> Iterator[Mapping[str, Any]]:
    for policy in policies:
        arn = policy["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        yield iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def _inline_documents(iam: Any, role: str) -> Iterator[Mapping[str, Any]]:
    for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
        for name in page["PolicyNames"]:
            yield iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]


def allows_agent(documents: Iterable[Mapping[str, Any]]) -> bool:
    """Whether policies together allow what an agent needs. Ignores conditions, resources and boundaries."""
    statements = [statement for document in documents for statement in _as_list(document.get("Statement", []))]

    def is_allowed(action: str) -> bool:
        effects = {statement.get("Effect") for statement in statements if _covers(statement, action)}
        return "Allow" in effects and "Deny" not in effects

    return is_allowed(_REGISTER) and any(is_allowed(action) for action in _TAKE_COMMANDS)


def _covers(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not _matches(action, statement["NotAction"])
    return _matches(action, statement.get("Action", []))


def _matches(action: str, patterns: Any) -> bool:
    """IAM user guide, "Action": case-insensitive, with the wildcards * and ?."""
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _as_list(patterns))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
