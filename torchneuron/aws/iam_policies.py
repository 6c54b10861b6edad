"""IAM policies built from grants, for one project, within IAM's size limit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torchneuron.core import tags

MAX_LENGTH = 6144
"""Characters of a managed policy, without white space (IAM user guide, "IAM and AWS STS quotas")."""


@dataclass(frozen=True)
class Scope:
    """The names that a policy is for. `bucket` may have wildcards, for a bucket that does not exist yet."""

    project: str
    bucket: str
    ami_parameters: tuple[str, ...]


@dataclass(frozen=True)
class Grant:
    """Actions with one purpose: a statement of a policy. `name` is its Sid, letters and digits only.

    `resources` are ARNs with the placeholders {project}, {role} and {bucket}, or {ami} for the AMI parameters.
    `condition` has values by operator and key, with the same placeholders.
    """

    name: str
    why: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    condition: Mapping[str, Mapping[str, str | Sequence[str]]] = field(default_factory=dict)


def policies(grants: Iterable[Grant], scope: Scope) -> list[dict[str, Any]]:
    """The IAM policies that together allow `grants`: a statement per grant, with its name.

    If that exceeds IAM's limit, statements about the same resources are merged and lose their names; if it still does,
    there are several policies.
    """
    statements = [_statement(grant, scope) for grant in grants]
    if _fits(statements):
        return [_document(statements)]
    parts: list[list[dict[str, Any]]] = [[]]
    for statement in _merged(statements):
        if not _fits([*parts[-1], statement]):
            parts.append([])
        parts[-1].append(statement)
    return [_document(part) for part in parts]


def _fits(statements: list[dict[str, Any]]) -> bool:
    return len(json.dumps(_document(statements), separators=(",", ":"))) <= MAX_LENGTH


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(grant: Grant, scope: Scope) -> dict[str, Any]:
    resources = [resource for template in grant.resources for resource in _resources(template, scope)]
    condition = {
        operator: {
            key: _fill(value, scope) if isinstance(value, str) else [_fill(each, scope) for each in value]
            for key, value in keys.items()
        }
        for operator, keys in grant.condition.items()
    }
    statement = {"Sid": grant.name, "Effect": "Allow", "Action": sorted(grant.actions), "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement


def _merged(statements: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for statement in statements:
        limits = {name: value for name, value in statement.items() if name not in ("Sid", "Action")}
        target = merged.setdefault(json.dumps(limits), {"Effect": "Allow", "Action": [], **limits})
        target["Action"] = sorted({*target["Action"], *statement["Action"]})
    return list(merged.values())


def _resources(template: str, scope: Scope) -> list[str]:
    if template == "{ami}":
        return [f"arn:aws:ssm:*:*:parameter/{name.lstrip('/')}" for name in dict.fromkeys(scope.ami_parameters)]
    return [_fill(template, scope)]


def _fill(template: str, scope: Scope) -> str:
    return template.format(project=scope.project, role=tags.role_prefix(scope.project), bucket=scope.bucket)
