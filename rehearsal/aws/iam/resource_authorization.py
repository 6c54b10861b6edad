"""The permissions that calls to IAM, KMS, Secrets Manager and STS need.

Sources
-------
- Resource types and keys by action: Service Authorization Reference, the services' "Actions, resources, and condition
  keys".
- Creating a resource with tags also needs the permission to tag: botocore's model, CreateSecret.Tags; IAM user guide,
  "Tags for IAM resources".
- Six characters follow a secret's name in its ARN: Secrets Manager user guide, "What's in a secret". What takes their
  place before the secret exists is assumed.
- AddRoleToInstanceProfile needs iam:PassRole: IAM API reference; that the role is passed to EC2 is assumed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends

from rehearsal.aws.iam.api_calls import ApiCall, request_tags, resource_tags, with_tagging
from rehearsal.aws.iam.policies import Request
from rehearsal.aws.iam.principals import PARTITION, by_key


def iam(call: ApiCall) -> list[Request]:
    parameters, requests = call.parameters, []
    backend = iam_backends[call.account][PARTITION]
    context: dict[str, Any] = request_tags(parameters.get("Tags"))
    kinds = (
        ("InstanceProfileName", "instance-profile", backend.instance_profiles.values()),
        ("RoleName", "role", backend.roles.values()),
        ("UserName", "user", backend.users.values()),
        ("GroupName", "group", backend.groups.values()),
    )
    for member, kind, existing in kinds:
        if name := parameters.get(member):
            resource = next((resource for resource in existing if resource.name == name), None)
            path = resource.path if resource else parameters.get("Path") or "/"
            tags = resource_tags(by_key(getattr(resource, "tags", None)), "iam:ResourceTag") if resource else {}
            if policy := parameters.get("PolicyArn"):
                context["iam:PolicyARN"] = policy
            requests.append(call.request(call.arn(f"{kind}{path}{name}", region=""), {**tags, **context}))
            if call.operation.startswith("Create") and parameters.get("Tags"):
                requests.append(replace(requests[0], action=f"iam:Tag{member.removesuffix('Name')}"))
            break
    if call.operation == "AddRoleToInstanceProfile":
        arns = (role.arn for role in backend.roles.values() if role.name == parameters.get("RoleName"))
        passed_to = {"iam:PassedToService": "ec2.amazonaws.com"}
        requests.append(call.request(next(arns, "*"), passed_to, action="iam:PassRole"))
    if call.operation == "CreatePolicy":
        policy = f"policy{parameters.get('Path') or '/'}{parameters.get('PolicyName')}"
        return [call.request(call.arn(policy, region=""), context)]
    return requests or [call.request(parameters.get("PolicyArn") or "*", context)]


def sts(call: ApiCall) -> list[Request]:
    return [call.request(call.parameters.get("RoleArn") or "*")]


def kms(call: ApiCall) -> list[Request]:
    """An alias is not resolved to its key."""
    key = call.parameters.get("KeyId") or call.parameters.get("AliasName")
    if key is None or key.startswith("arn:"):
        return [call.request(key or "*")]
    return [call.request(call.arn(key if key.startswith("alias/") else f"key/{key}"))]


def secretsmanager(call: ApiCall) -> list[Request]:
    parameters = call.parameters
    if name := parameters.get("SecretId"):
        secrets = secretsmanager_backends[call.account][call.region].secrets
        # moto's secrets are also found by ARN, but not with `get`.
        secret = secrets[name] if name in secrets else None  # noqa: SIM401
        resource = secret.arn if secret else name if name.startswith("arn:") else call.arn(f"secret:{name}")
        tags = resource_tags(by_key(secret.tags), "secretsmanager:ResourceTag") if secret else {}
        return [call.request(resource, {**tags, **request_tags(parameters.get("Tags"))})]
    if call.operation == "CreateSecret":
        creation = call.request(call.arn(f"secret:{parameters.get('Name')}-??????"))
        return with_tagging(creation, "secretsmanager:TagResource", parameters.get("Tags"))
    return [call.request("*")]
