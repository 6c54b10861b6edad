"""IAM policies made of what is granted: for a project's names and tags, each as short as IAM wants it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torchneuron.core import tags

LONGEST = 6144
"""The characters of a managed policy, white space aside (IAM user guide, "IAM and AWS STS quotas")."""


@dataclass(frozen=True)
class Scope:
    """The names a policy is for. `bucket` may have wildcards: the state bucket's name before there is one."""

    project: str
    bucket: str
    ami_parameters: tuple[str, ...]


@dataclass(frozen=True)
class Grant:
    """Actions that belong together: one statement of a policy. `name` is its Sid, letters and digits only.

    `resources` are ARNs with {project}, {role}, {bucket}, and {ami} for each of the AMI parameters. `condition` has
    values by operator and key, with the same names in them.
    """

    name: str
    why: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    condition: Mapping[str, Mapping[str, str | Sequence[str]]] = field(default_factory=dict)


def policies(grants: Iterable[Grant], scope: Scope) -> list[dict[str, Any]]:
    """The IAM policies that together allow `grants`, for what `scope` names: a statement each, named by its grant.

    Where that is longer than IAM takes, statements about the same resources become one, and have no name then; where
    that is still too long, there are several policies.
    """
    statements = [_statement(grant, scope) for grant in grants]
    if _fits(statements):
        return [_document(statements)]
    made: list[list[dict[str, Any]]] = [[]]
    for statement in _joined(statements):
        if not _fits([*made[-1], statement]):
            made.append([])
        made[-1].append(statement)
    return [_document(part) for part in made]


def _fits(statements: list[dict[str, Any]]) -> bool:
    return len(json.dumps(_document(statements), separators=(",", ":"))) <= LONGEST


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(grant: Grant, scope: Scope) -> dict[str, Any]:
    resources = [resource for template in grant.resources for resource in _filled(template, scope)]
    condition = {
        operator: {
            key: _named(value, scope) if isinstance(value, str) else [_named(one, scope) for one in value]
            for key, value in keys.items()
        }
        for operator, keys in grant.condition.items()
    }
    statement = {"Sid": grant.name, "Effect": "Allow", "Action": sorted(grant.actions), "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement


def _joined(statements: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for statement in statements:
        same = {name: value for name, value in statement.items() if name not in ("Sid", "Action")}
        one = made.setdefault(json.dumps(same), {"Effect": "Allow", "Action": [], **same})
        one["Action"] = sorted({*one["Action"], *statement["Action"]})
    return list(made.values())


def _filled(template: str, scope: Scope) -> list[str]:
    if template == "{ami}":
        return [f"arn:aws:ssm:*:*:parameter/{name.lstrip('/')}" for name in dict.fromkeys(scope.ami_parameters)]
    return [_named(template, scope)]


def _named(template: str, scope: Scope) -> str:
    return template.format(project=scope.project, role=tags.role_prefix(scope.project), bucket=scope.bucket)
