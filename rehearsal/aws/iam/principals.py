"""IAM users and role sessions, with their policies. A request with any other key has all permissions.

Access keys and sessions are moto's: `iam.create_access_key`, `sts.assume_role`. Credentials of an instance's role are
a session of that role (`metadata`). `authentication` checks signatures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from rehearsal.aws.iam.policies import Decision, Request, as_list, decide

PARTITION = "aws"


@dataclass(frozen=True)
class Principal:
    """An IAM user or role session. `issuer`: the value of `aws:PrincipalArn`, for a session the role's ARN.

    Source of the context keys: IAM user guide, "AWS global condition context keys", "Principal key values".
    """

    arn: str
    issuer: str
    account: str
    user_id: str
    user_name: str | None
    tags: Mapping[str, str] = field(default_factory=dict)
    policies: Sequence[Mapping[str, Any]] = ()

    def context(self) -> dict[str, str]:
        kind = "User" if self.user_name else "AssumedRole"
        keys = {"PrincipalArn": self.issuer, "PrincipalAccount": self.account, "PrincipalType": kind}
        keys |= {"userid": self.user_id, **({"username": self.user_name} if self.user_name else {})}
        keys |= {f"PrincipalTag/{key}": value for key, value in self.tags.items()}
        return {f"aws:{key}": value for key, value in keys.items()}


def find(access_key_id: str) -> Principal | None:
    """The user or session of a key; None for the rehearsal's own key."""
    for account, partitions in list(iam_backends.items()):
        if key := partitions[PARTITION].access_keys.get(access_key_id):
            return _session(account, key) if key.role_arn else _user(account, key.user_name)
    return None


def _user(account: str, name: str) -> Principal:
    backend = iam_backends[account][PARTITION]
    user = backend.get_user(name)
    holders = [user, *backend.get_groups_for_user(name)]
    return Principal(
        arn=user.arn,
        issuer=user.arn,
        account=account,
        user_id=user.id,
        user_name=name,
        tags=by_key(user.tags),
        policies=[document for holder in holders for document in policies_of(holder)],
    )


def _session(account: str, key: Any) -> Principal:
    """The session of a key. It may outlive its role, as in AWS, and then has no policies."""
    name = key.role_arn.rpartition("/")[2]
    sessions = sts_backends[account][PARTITION].assumed_roles
    names = (session.session_name for session in sessions if session.access_key_id == key.access_key_id)
    session = next(names, "session")
    roles = iam_backends[account][PARTITION].roles.values()
    role = next((role for role in roles if role.arn == key.role_arn), None)
    return Principal(
        arn=f"arn:{PARTITION}:sts::{account}:assumed-role/{name}/{session}",
        issuer=key.role_arn,
        account=account,
        user_id=f"{role.id if role else 'AROA'}:{session}",
        user_name=None,
        tags=by_key(role.tags) if role else {},
        policies=policies_of(role) if role else [],
    )


def policies_of(holder: Any) -> list[Mapping[str, Any]]:
    """The inline and attached policies of a user, group or role."""
    inline = holder.policies.values()
    attached = [
        version.document
        for policy in holder.managed_policies.values()
        for version in policy.versions
        if version.is_default
    ]
    return [json.loads(document) for document in (*inline, *attached)]


def instance_role(instance: Any, account: str) -> Any:
    """The role in the profile of one of moto's instances; None without one."""
    arn = (instance.iam_instance_profile or {}).get("Arn")
    profiles = iam_backends[account][PARTITION].instance_profiles.values()
    return next((role for profile in profiles if arn and profile.arn == arn for role in profile.roles), None)


def by_key(tags: Any) -> dict[str, str]:
    """Tags by key, from either form in which moto stores them for IAM and Secrets Manager."""
    pairs = tags.values() if isinstance(tags, Mapping) else tags or []
    return {tag["Key"]: tag["Value"] for tag in pairs}


def trusts(role: Any, names: Iterable[str], request: Request) -> bool:
    """Whether a role's trust policy allows a request by a principal with one of these names."""
    document = json.loads(role.assume_role_policy_document)
    statements = [
        statement
        for statement in as_list(document["Statement"])
        if set(names) & set(_principals_in(statement.get("Principal", {})))
    ]
    return decide([{**document, "Statement": statements}], request) is Decision.ALLOWED


def _principals_in(principal: Any) -> list[str]:
    return [principal] if isinstance(principal, str) else as_list(principal.get("AWS", []))
