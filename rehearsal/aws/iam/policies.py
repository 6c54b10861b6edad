"""Evaluation of IAM policies: whether documents allow an action on a resource in a context. No I/O.

Models identity-based policies within one account. Permissions boundaries, session policies, service control policies
and resource-based policies are not modelled.

Sources, all in the IAM user guide
----------------------------------
- An explicit deny wins, then any allow, else the request is denied implicitly: "Policy evaluation logic".
- Actions ignore case; `*` and `?` are wildcards: "IAM JSON policy elements: Action", "NotAction".
- A `*` at the end of an ARN segment may match across colons, others only within the segment: the same, "Resource".
- Operators, IfExists, a missing key, several values, negated operators: the same, "Condition operators".
- ForAllValues is true and ForAnyValue false for a missing key: "Set operators for multivalued context keys".
- Context key names ignore case: "IAM JSON policy elements: Condition".
- `${key}`, `${key, 'default'}`, `${*}` only work in version 2012-10-17; a variable without a value matches
  nothing: "Policy variables".

Alternatives considered: @cloud-copilot/iam-simulate (AGPL, needs Node), moto.iam.access_control (ignores resources
and conditions). PyPI has no evaluator.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VERSION_WITH_VARIABLES = "2012-10-17"
_VARIABLE = re.compile(r"\$\{\s*([^},]+?)\s*(?:,\s*'([^']*)'\s*)?\}")
_ARN_PARTS = 6


class Decision(enum.Enum):
    ALLOWED = "allowed"
    EXPLICITLY_DENIED = "explicitly denied"
    IMPLICITLY_DENIED = "implicitly denied"


@dataclass(frozen=True)
class Request:
    """An action on a resource. `context`: values by key; a list for a multivalued key."""

    action: str
    resource: str
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict)

    def values(self, key: str) -> list[str] | None:
        """The values of a context key; None when the request does not have it."""
        value = {name.lower(): value for name, value in self.context.items()}.get(key.lower())
        return [value] if isinstance(value, str) else None if value is None else list(value)


def decide(documents: Iterable[Mapping[str, Any]], request: Request) -> Decision:
    """The decision of a principal's policy documents (parsed JSON). NotImplementedError for an unmodelled operator."""
    effects = {
        statement["Effect"]
        for document in documents
        for statement in as_list(document.get("Statement"))
        if _applies(statement, request, has_variables=document.get("Version") == VERSION_WITH_VARIABLES)
    }
    if "Deny" in effects:
        return Decision.EXPLICITLY_DENIED
    return Decision.ALLOWED if "Allow" in effects else Decision.IMPLICITLY_DENIED


def _applies(statement: Mapping[str, Any], request: Request, *, has_variables: bool) -> bool:
    scope = _Scope(request, has_variables)
    return (
        _covers(statement, "Action", lambda pattern: _matches(pattern, request.action, flags=re.IGNORECASE))
        and _covers(statement, "Resource", lambda pattern: _resource_matches(scope, pattern))
        and all(
            _condition_holds(scope, operator, key, as_list(values))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _covers(statement: Mapping[str, Any], element: str, matches: Callable[[str], bool]) -> bool:
    """Whether `element` (Action, Resource) or its Not form covers the request. A trust policy has no Resource."""
    if f"Not{element}" in statement:
        return not any(matches(pattern) for pattern in as_list(statement[f"Not{element}"]))
    return element not in statement or any(matches(pattern) for pattern in as_list(statement[element]))


def as_list(value: Any) -> list[Any]:
    """The items of a policy element, which may also be a single item or missing."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


@dataclass(frozen=True)
class _Scope:
    """Resolves the variables in a policy's text for a request."""

    request: Request
    has_variables: bool

    def pattern(self, text: str, wildcards: Mapping[str, str]) -> str | None:
        """A regular expression for the text; None when a variable has no value."""
        pattern, end = "", 0
        for variable in _VARIABLE.finditer(text) if self.has_variables else ():
            value = self._value(variable[1], variable[2])
            if value is None:
                return None
            pattern += _translated(text[end : variable.start()], wildcards) + re.escape(value)
            end = variable.end()
        return pattern + _translated(text[end:], wildcards)

    def _value(self, name: str, default: str | None) -> str | None:
        if name in ("*", "?", "$"):
            return name
        values = self.request.values(name)
        return values[0] if values and len(values) == 1 else default


_ANY = {"*": ".*", "?": "."}
_WITHIN_SEGMENT = {"*": "[^:]*", "?": "[^:]"}


def _translated(text: str, wildcards: Mapping[str, str]) -> str:
    return "".join(wildcards.get(character) or re.escape(character) for character in text)


def _matches(pattern: str, value: str, *, flags: int = 0) -> bool:
    return re.fullmatch(_translated(pattern, _ANY), value, flags | re.DOTALL) is not None


def _resource_matches(scope: _Scope, text: str) -> bool:
    pattern = scope.pattern(text, _WITHIN_SEGMENT)
    if pattern is None:
        return False
    pattern = re.sub(r"\[\^:\]\*(?=:|$)", ".*", pattern)
    return re.fullmatch(pattern, scope.request.resource, re.DOTALL) is not None


def _condition_holds(scope: _Scope, operator: str, key: str, expected: Sequence[Any]) -> bool:
    quantifier, _, name = operator.rpartition(":")
    values = scope.request.values(key)
    if name == "Null":
        return any((str(item).lower() == "true") is (values is None) for item in expected)
    optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    negated = "Not" in name
    compare = _OPERATORS.get(name.replace("Not", ""))
    if compare is None or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise NotImplementedError(f"the condition operator {operator}")
    if not values:
        # An empty set counts as a missing key (the same page).
        return quantifier == "ForAllValues" or (not quantifier and (optional or negated))

    def holds(value: str) -> bool:
        return any(compare(scope, str(item), value) for item in expected) is not negated

    return (all if quantifier == "ForAllValues" else any)(holds(value) for value in values)


def _string(wildcards: Mapping[str, str], *, flags: int = 0) -> Callable[[_Scope, str, str], bool]:
    def holds(scope: _Scope, expected: str, value: str) -> bool:
        pattern = scope.pattern(expected, wildcards)
        return pattern is not None and re.fullmatch(pattern, value, re.DOTALL | flags) is not None

    return holds


_is_like = _string(_ANY)


def _arn_is_like(scope: _Scope, expected: str, value: str) -> bool:
    """Compares each of the six ARN parts by itself. ArnEquals equals ArnLike."""
    parts, values = expected.split(":", _ARN_PARTS - 1), value.split(":", _ARN_PARTS - 1)
    return len(parts) == len(values) and all(_is_like(scope, *pair) for pair in zip(parts, values, strict=True))


def _bool_equals(scope: _Scope, expected: str, value: str) -> bool:
    return expected.lower() == value.lower()


def _numeric(compare: Callable[[float, float], bool]) -> Callable[[_Scope, str, str], bool]:
    return lambda scope, expected, value: compare(float(value), float(expected))


_OPERATORS: Mapping[str, Callable[[_Scope, str, str], bool]] = {
    "StringEquals": _string({}),
    "StringEqualsIgnoreCase": _string({}, flags=re.IGNORECASE),
    "StringLike": _is_like,
    "ArnEquals": _arn_is_like,
    "ArnLike": _arn_is_like,
    "Bool": _bool_equals,
    "NumericEquals": _numeric(lambda value, expected: value == expected),
    "NumericLessThan": _numeric(lambda value, expected: value < expected),
    "NumericLessThanEquals": _numeric(lambda value, expected: value <= expected),
    "NumericGreaterThan": _numeric(lambda value, expected: value > expected),
    "NumericGreaterThanEquals": _numeric(lambda value, expected: value >= expected),
}
"""By name, without `Not`: `_condition_holds` negates."""
