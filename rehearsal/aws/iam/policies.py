"""Whether IAM policies allow a request. Pure: documents, an action, a resource and the request's context.

Models identity-based policies within one account. Permissions boundaries, session policies, service control policies
and resource-based policies are not modelled.

Sources, all in the IAM user guide
----------------------------------
- An explicit deny wins, then any allow, else the request is denied implicitly: "Policy evaluation logic".
- Actions ignore case; `*` and `?` are wildcards: "IAM JSON policy elements: Action", "NotAction".
- A `*` that ends a segment of an ARN may match beyond colons, others stay within it: the same, "Resource".
- Operators, IfExists, a missing key, several values, negated operators: the same, "Condition operators".
- ForAllValues is true and ForAnyValue false for a missing key: "Set operators for multivalued context keys".
- Names of context keys ignore case: "IAM JSON policy elements: Condition".
- `${key}`, `${key, 'default'}`, `${*}`, only in version 2012-10-17; a variable without a value matches nothing:
  "Policy variables".

Considered instead: @cloud-copilot/iam-simulate (AGPL, needs Node), moto.iam.access_control (ignores resources and
conditions). PyPI has none.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VARIABLES_SINCE = "2012-10-17"
_VARIABLE = re.compile(r"\$\{\s*([^},]+?)\s*(?:,\s*'([^']*)'\s*)?\}")
_ARN_PARTS = 6


class Decision(enum.Enum):
    ALLOWED = "allowed"
    EXPLICITLY_DENIED = "explicitly denied"
    IMPLICITLY_DENIED = "implicitly denied"


@dataclass(frozen=True)
class Request:
    """One action on one resource. `context`: values by key; several values for a multivalued key."""

    action: str
    resource: str
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict)

    def values(self, key: str) -> list[str] | None:
        """The values of a context key, None when the request has no such key."""
        found = {name.lower(): value for name, value in self.context.items()}.get(key.lower())
        return [found] if isinstance(found, str) else None if found is None else list(found)


def decide(documents: Iterable[Mapping[str, Any]], request: Request) -> Decision:
    """The decision of a principal's policies, as parsed JSON. NotImplementedError for an operator not modelled."""
    effects = {
        statement["Effect"]
        for document in documents
        for statement in _listed(document.get("Statement"))
        if _applies(statement, request, has_variables=document.get("Version") == VARIABLES_SINCE)
    }
    if "Deny" in effects:
        return Decision.EXPLICITLY_DENIED
    return Decision.ALLOWED if "Allow" in effects else Decision.IMPLICITLY_DENIED


def _applies(statement: Mapping[str, Any], request: Request, *, has_variables: bool) -> bool:
    scope = _Scope(request, has_variables)
    return (
        _named(statement, "Action", lambda pattern: _matches(pattern, request.action, flags=re.IGNORECASE))
        and _named(statement, "Resource", lambda pattern: _resource_matches(scope, pattern))
        and all(
            _condition_holds(scope, operator, key, _listed(values))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _named(statement: Mapping[str, Any], element: str, matches: Callable[[str], bool]) -> bool:
    """Whether Action or NotAction, Resource or NotResource covers the request. A trust policy has no Resource."""
    if f"Not{element}" in statement:
        return not any(matches(pattern) for pattern in _listed(statement[f"Not{element}"]))
    return element not in statement or any(matches(pattern) for pattern in _listed(statement[element]))


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


@dataclass(frozen=True)
class _Scope:
    """Where the text of a policy is read: its variables have the request's values."""

    request: Request
    has_variables: bool

    def pattern(self, text: str, wildcards: Mapping[str, str]) -> str | None:
        """A regular expression for the text. None when a variable has no value."""
        made, end = "", 0
        for found in _VARIABLE.finditer(text) if self.has_variables else ():
            value = self._value(found[1], found[2])
            if value is None:
                return None
            made += _translated(text[end : found.start()], wildcards) + re.escape(value)
            end = found.end()
        return made + _translated(text[end:], wildcards)

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
    beyond = re.sub(r"\[\^:\]\*(?=:|$)", ".*", pattern)
    return re.fullmatch(beyond, scope.request.resource, re.DOTALL) is not None


def _condition_holds(scope: _Scope, operator: str, key: str, wanted: Sequence[Any]) -> bool:
    quantifier, _, name = operator.rpartition(":")
    values = scope.request.values(key)
    if name == "Null":
        return any((str(one).lower() == "true") is (values is None) for one in wanted)
    optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    negated = "Not" in name
    compare = _OPERATORS.get(name.replace("Not", ""))
    if compare is None or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise NotImplementedError(f"the condition operator {operator}")
    if not values:
        # An empty set of values is a key without values (the same page).
        return quantifier == "ForAllValues" or (not quantifier and (optional or negated))

    def holds(value: str) -> bool:
        return any(compare(scope, str(one), value) for one in wanted) is not negated

    return (all if quantifier == "ForAllValues" else any)(holds(value) for value in values)


def _equals(scope: _Scope, wanted: str, value: str) -> bool:
    pattern = scope.pattern(wanted, {})
    return pattern is not None and re.fullmatch(pattern, value, re.DOTALL) is not None


def _equals_ignoring_case(scope: _Scope, wanted: str, value: str) -> bool:
    pattern = scope.pattern(wanted, {})
    return pattern is not None and re.fullmatch(pattern, value, re.DOTALL | re.IGNORECASE) is not None


def _is_like(scope: _Scope, wanted: str, value: str) -> bool:
    pattern = scope.pattern(wanted, _ANY)
    return pattern is not None and re.fullmatch(pattern, value, re.DOTALL) is not None


def _arn_is_like(scope: _Scope, wanted: str, value: str) -> bool:
    """Each of the six parts by itself. ArnEquals is the same as ArnLike."""
    parts, values = wanted.split(":", _ARN_PARTS - 1), value.split(":", _ARN_PARTS - 1)
    return len(parts) == len(values) and all(_is_like(scope, *pair) for pair in zip(parts, values, strict=True))


def _is_same_truth(scope: _Scope, wanted: str, value: str) -> bool:
    return wanted.lower() == value.lower()


def _numeric(compare: Callable[[float, float], bool]) -> Callable[[_Scope, str, str], bool]:
    return lambda scope, wanted, value: compare(float(value), float(wanted))


_OPERATORS: Mapping[str, Callable[[_Scope, str, str], bool]] = {
    "StringEquals": _equals,
    "StringEqualsIgnoreCase": _equals_ignoring_case,
    "StringLike": _is_like,
    "ArnEquals": _arn_is_like,
    "ArnLike": _arn_is_like,
    "Bool": _is_same_truth,
    "NumericEquals": _numeric(lambda value, wanted: value == wanted),
    "NumericLessThan": _numeric(lambda value, wanted: value < wanted),
    "NumericLessThanEquals": _numeric(lambda value, wanted: value <= wanted),
    "NumericGreaterThan": _numeric(lambda value, wanted: value > wanted),
    "NumericGreaterThanEquals": _numeric(lambda value, wanted: value >= wanted),
}
"""By name, without `Not`, which the caller applies."""
