"""Whether an instance's role lets the SSM agent register and take commands, by the policies that it has.

Three permissions make the difference; the rest of AmazonSSMManagedInstanceCore is for what no setup needs (Systems
Manager user guide, "Reference: ec2messages, ssmmessages, and other API operations").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torchneuron.aws.errors import calling, is_about_sign_in
from torchneuron.connectivity.facts import Role, Unseen
from torchneuron.core.errors import AwsError
from torchneuron.core.text import quoted

# AWS's own policies that suffice: their documents need not be read.
_SUFFICIENT = {"AdministratorAccess", "AmazonSSMManagedEC2InstanceDefaultPolicy", "AmazonSSMManagedInstanceCore"}
_REGISTER = "ssm:UpdateInstanceInformation"
_TAKE_COMMANDS = ("ssmmessages:OpenControlChannel", "ec2messages:GetMessages")


def look_at_role(iam: Any, profile_arn: str) -> Role:
    """The role in an instance profile. AwsError when not even the profile may be looked at."""
    profile = profile_arn.rpartition("/")[2]
    try:
        with calling(f"look at the instance profile {profile}"):
            roles = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    except AwsError as error:
        if error.code != "NoSuchEntity":
            raise
        return Role(profile, "", profile_exists=False)
    if not roles:
        return Role(profile, "")
    name = roles[0]["RoleName"]
    try:
        return Role(profile, name, _suffices(iam, name))
    except AwsError as error:
        if is_about_sign_in(error):
            raise
        return Role(
            profile, name, Unseen(error.what, f"aws iam list-attached-role-policies --role-name {quoted(name)}")
        )


def _suffices(iam: Any, role: str) -> bool:
    with calling(f"look at the policies of the role {role}"):
        pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=role)
        attached = [policy for page in pages for policy in page["AttachedPolicies"]]
        if any(policy["PolicyName"] in _SUFFICIENT for policy in attached):
            return True
        return allows_agent([*_attached(iam, attached), *_inline(iam, role)])


def _attached(iam: Any, policies: Iterable[Mapping[str, str]]) -> Iterator[Mapping[str, Any]]:
    for policy in policies:
        arn = policy["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        yield iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def _inline(iam: Any, role: str) -> Iterator[Mapping[str, Any]]:
    for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
        for name in page["PolicyNames"]:
            yield iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]


def allows_agent(documents: Iterable[Mapping[str, Any]]) -> bool:
    """Whether policies, together, allow an agent its work. Conditions, resources and boundaries are not read."""
    statements = [one for document in documents for one in _listed(document.get("Statement", []))]

    def allowed(action: str) -> bool:
        effects = {one.get("Effect") for one in statements if _covers(one, action)}
        return "Allow" in effects and "Deny" not in effects

    return allowed(_REGISTER) and any(allowed(action) for action in _TAKE_COMMANDS)


def _covers(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not _matches(action, statement["NotAction"])
    return _matches(action, statement.get("Action", []))


def _matches(action: str, patterns: Any) -> bool:
    """IAM user guide, "Action": case does not matter, * and ? stand for what they do in file names."""
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _listed(patterns))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
