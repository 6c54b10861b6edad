"""Which actions IAM, KMS, Secrets Manager and STS check for a request, and on which resources.

Sources
-------
- Resource types and keys by action: Service Authorization Reference, the services' "Actions, resources, and condition
  keys".
- What is made with tags needs the permission to tag as well: botocore's model, CreateSecret.Tags; IAM user guide, "Tags
  for IAM resources".
- Six characters follow a secret's name in its ARN: Secrets Manager user guide, "What's in a secret". What stands there
  before there is the secret is assumed.
- AddRoleToInstanceProfile needs iam:PassRole: IAM API reference; that the role is passed to EC2 is assumed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends

from rehearsal.aws.iam.access import Call, request_tags, resource_tags, with_tagging
from rehearsal.aws.iam.policies import Request
from rehearsal.aws.iam.principals import PARTITION, by_key


def iam(call: Call) -> list[Request]:
    """What is checked for a call to IAM."""
    given, made = call.parameters, []
    backend = iam_backends[call.account][PARTITION]
    context: dict[str, Any] = request_tags(given.get("Tags"))
    kinds = (
        ("InstanceProfileName", "instance-profile", backend.instance_profiles.values()),
        ("RoleName", "role", backend.roles.values()),
        ("UserName", "user", backend.users.values()),
        ("GroupName", "group", backend.groups.values()),
    )
    for member, kind, there in kinds:
        if name := given.get(member):
            found = next((one for one in there if one.name == name), None)
            path = found.path if found else given.get("Path") or "/"
            tags = resource_tags(by_key(getattr(found, "tags", None)), "iam:ResourceTag") if found else {}
            if policy := given.get("PolicyArn"):
                context["iam:PolicyARN"] = policy
            made.append(call.on(call.arn(f"{kind}{path}{name}", region=""), {**tags, **context}))
            if call.operation.startswith("Create") and given.get("Tags"):
                made.append(replace(made[0], action=f"iam:Tag{member.removesuffix('Name')}"))
            break
    if call.operation == "AddRoleToInstanceProfile":
        role = next((one.arn for one in backend.roles.values() if one.name == given.get("RoleName")), "*")
        made.append(call.on(role, {"iam:PassedToService": "ec2.amazonaws.com"}, action="iam:PassRole"))
    if call.operation == "CreatePolicy":
        return [call.on(call.arn(f"policy{given.get('Path') or '/'}{given.get('PolicyName')}", region=""), context)]
    return made or [call.on(given.get("PolicyArn") or "*", context)]


def sts(call: Call) -> list[Request]:
    """What is checked for a call to STS."""
    return [call.on(call.parameters.get("RoleArn") or "*")]


def kms(call: Call) -> list[Request]:
    """What is checked for a call to KMS. An alias is shown as itself."""
    key = call.parameters.get("KeyId") or call.parameters.get("AliasName")
    if key is None:
        return [call.on("*")]
    return [call.on(key if key.startswith("arn:") else call.arn(key if key.startswith("alias/") else f"key/{key}"))]


def secretsmanager(call: Call) -> list[Request]:
    """What is checked for a call to Secrets Manager."""
    given = call.parameters
    if name := given.get("SecretId"):
        secrets = secretsmanager_backends[call.account][call.region].secrets
        # moto's secrets are found by ARN, too, but not by `get`.
        secret = secrets[name] if name in secrets else None  # noqa: SIM401
        resource = secret.arn if secret else name if name.startswith("arn:") else call.arn(f"secret:{name}")
        tags = resource_tags(by_key(secret.tags), "secretsmanager:ResourceTag") if secret else {}
        return [call.on(resource, {**tags, **request_tags(given.get("Tags"))})]
    if call.operation == "CreateSecret":
        made = call.on(call.arn(f"secret:{given.get('Name')}-??????"))
        return with_tagging(made, "secretsmanager:TagResource", given.get("Tags"))
    return [call.on("*")]
