"""Validation of values against a shape of botocore's service model, with the texts of AWS's ValidationException.

botocore validates types and some lengths on the client; other clients may not, and patterns and enums are validated by
AWS only.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from rehearsal.errors import AwsError

# Java's character classes, approximated for names and tags.
_CLASSES = {r"\p{L}": "a-zA-Z\u00aa-\uffff", r"\p{Z}": r"\s", r"\p{N}": "0-9", r"\p{IsLetter}": "a-zA-Z\u00aa-\uffff"}
_ENUM = "satisfy enum value set"
_NULL = "Member must not be null"
_Failures = Iterator[str]


def check_request(shape: Shape | None, members: Mapping[str, Any], *, code: str = "ValidationException") -> None:
    """AwsError for an invalid request, with `code`, or SerializationException for a wrong type."""
    if shape is None:
        return
    failures = list(_failures(shape, members, ""))
    if failures:
        count = f"{len(failures)} validation error{'s' if len(failures) > 1 else ''} detected"
        raise AwsError(code, f"{count}: {'; '.join(failures)}")


def not_as_modelled(shape: Shape, response: Mapping[str, Any]) -> list[str]:
    """Missing members, wrong types and unknown enum values in a response that botocore has parsed.

    Lengths and patterns apply to requests only: AWS's own responses violate them.
    """
    try:
        return [failure for failure in _failures(shape, response, "") if _ENUM in failure or _NULL in failure]
    except AwsError as error:
        return [str(error)]


def _failures(shape: Shape, value: Any, at: str) -> _Failures:
    if shape.type_name not in _CHECKS:
        return
    types, check = _CHECKS[shape.type_name]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise AwsError("SerializationException", f"{at or 'The request'}: {value!r} is not a {shape.type_name}")
    yield from check(shape, value, at)


def _of_structure(shape: StructureShape, value: Mapping[str, Any], at: str) -> _Failures:
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Value null at '{_path(at, name)}' failed to satisfy constraint: {_NULL}"
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from _failures(member, value[name], _path(at, name))


def _of_list(shape: ListShape, value: list[Any], at: str) -> _Failures:
    yield from _within(shape, len(value), value, at, "length")
    for number, item in enumerate(value, 1):
        yield from _failures(shape.member, item, f"{at}.{number}.member")


def _of_map(shape: MapShape, value: Mapping[str, Any], at: str) -> _Failures:
    yield from _within(shape, len(value), value, at, "length")
    for name, item in value.items():
        yield from _failures(shape.key, name, at)
        yield from _failures(shape.value, item, f"{at}.{name}.member")


def _of_string(shape: Shape, value: str, at: str) -> _Failures:
    yield from _within(shape, len(value), value, at, "length")
    allowed = shape.metadata.get("enum")
    if allowed and value not in allowed:
        yield _failure(value, at, f"{_ENUM}: [{', '.join(allowed)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and (compiled := _compiled(pattern)) and not compiled.fullmatch(value):
        yield _failure(value, at, f"satisfy regular expression pattern: {pattern}")


def _of_number(shape: Shape, value: float, at: str) -> _Failures:
    yield from _within(shape, value, value, at, "value")


def _within(shape: Shape, number: float, value: Any, at: str, what: str) -> _Failures:
    if "min" in shape.metadata and number < shape.metadata["min"]:
        yield _failure(value, at, f"have {what} greater than or equal to {shape.metadata['min']}")
    if "max" in shape.metadata and number > shape.metadata["max"]:
        yield _failure(value, at, f"have {what} less than or equal to {shape.metadata['max']}")


_CHECKS: Mapping[str, tuple[tuple[type, ...], Callable[[Any, Any, str], _Failures]]] = {
    "structure": ((Mapping,), _of_structure),
    "list": ((list, tuple), _of_list),
    "map": ((Mapping,), _of_map),
    "string": ((str,), _of_string),
    "integer": ((int,), _of_number),
    "long": ((int,), _of_number),
    "boolean": ((bool,), lambda shape, value, at: iter(())),
}


def _failure(value: Any, at: str, must: str) -> str:
    return f"Value '{value}' at '{at}' failed to satisfy constraint: Member must {must}"


def _path(at: str, name: str) -> str:
    return f"{at}.{name[0].lower()}{name[1:]}" if at else f"{name[0].lower()}{name[1:]}"


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern; None for a Java pattern that Python can't express, which is then not checked."""
    for name, characters in _CLASSES.items():
        pattern = pattern.replace(name, characters)
    try:
        return re.compile(pattern)
    except re.error:
        return None
