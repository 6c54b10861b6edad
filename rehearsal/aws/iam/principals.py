"""Who signed a request: an IAM user, a role's session, or anybody else, whom nothing is denied.

Access keys and sessions are moto's: `iam.create_access_key`, `sts.assume_role`. Credentials of an instance's role are
a session of that role, see `role_sessions`. Signatures are `authentication`'s to check.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from rehearsal.aws.iam.policies import Decision, Request, decide

PARTITION = "aws"


@dataclass(frozen=True)
class Principal:
    """An IAM identity. `issuer`: the ARN that `aws:PrincipalArn` has, the role's for a session of one.

    Source of the keys: IAM user guide, "AWS global condition context keys", "Principal key values".
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
        made = {"PrincipalArn": self.issuer, "PrincipalAccount": self.account, "PrincipalType": kind}
        made |= {"userid": self.user_id, **({"username": self.user_name} if self.user_name else {})}
        made |= {f"PrincipalTag/{key}": value for key, value in self.tags.items()}
        return {f"aws:{key}": value for key, value in made.items()}


def find(access_key_id: str) -> Principal | None:
    """None for a key that is no IAM user's and no session's: the rehearsal's own."""
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
    """A session outlives its role in AWS, too, but no policies are left to allow anything."""
    name = key.role_arn.rpartition("/")[2]
    sessions = sts_backends[account][PARTITION].assumed_roles
    session = next((one.session_name for one in sessions if one.access_key_id == key.access_key_id), "session")
    role = next((one for one in iam_backends[account][PARTITION].roles.values() if one.arn == key.role_arn), None)
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


def by_key(tags: Any) -> dict[str, str]:
    """Tags as moto keeps them for IAM and Secrets Manager, by key."""
    pairs = tags.values() if isinstance(tags, Mapping) else tags or []
    return {tag["Key"]: tag["Value"] for tag in pairs}


def trusts(role: Any, names: Iterable[str], request: Request) -> bool:
    """Whether a role's trust policy allows a request by a principal with one of these names."""
    document = json.loads(role.assume_role_policy_document)
    statements = [
        statement
        for statement in _listed(document["Statement"])
        if set(names) & set(_principals_in(statement.get("Principal", {})))
    ]
    return decide([{**document, "Statement": statements}], request) is Decision.ALLOWED


def _principals_in(principal: Any) -> list[str]:
    return [principal] if isinstance(principal, str) else _listed(principal.get("AWS", []))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]
