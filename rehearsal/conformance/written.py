"""Violations of a shape by an XML or JSON document, element by element.

botocore's parsers, like other clients', ignore unknown elements and accept loose formats. This reports every element
that the model lacks, and numbers, booleans and timestamps in a format that the protocol does not have.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from botocore.model import ListShape, MapShape, Shape, StructureShape

Found = Iterator[str]

# RFC 3339, the only format that Go clients such as Terraform accept.
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_TEXTS: Mapping[str, re.Pattern[str]] = {
    "boolean": re.compile("true|false"),
    "integer": re.compile(r"-?\d+"),
    "long": re.compile(r"-?\d+"),
    "float": re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?"),
    "double": re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?"),
    "timestamp": _TIMESTAMP,
}
_NUMBERS = (int, float)
_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": _NUMBERS,
    "double": _NUMBERS,
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
}


def in_xml(shape: Shape, node: Element, at: str, *, beside: frozenset[str] = frozenset()) -> Found:
    """Where an element violates its shape. `beside`: names of children that the protocol adds."""
    if isinstance(shape, StructureShape):
        yield from _xml_structure(shape, node, at, beside)
    elif isinstance(shape, ListShape):
        name = shape.member.serialization.get("name", "member")
        for number, child in enumerate(node, 1):
            if tag(child) == name:
                yield from in_xml(shape.member, child, f"{at}.{number}")
            else:
                yield f"{at}: <{tag(child)}> where the model has <{name}>"
    elif isinstance(shape, MapShape):
        for child in node:
            yield from _xml_entry(shape, child, f"{at}.{tag(child)}")
    else:
        yield from (f"{at}: <{tag(child)}> is not in the model" for child in node)
        yield from _text(shape, node.text or "", at)


def _xml_structure(shape: StructureShape, node: Element, at: str, beside: frozenset[str]) -> Found:
    known = {_xml_name(name, member): member for name, member in shape.members.items() if _in_body(member)}
    counts = Counter(tag(child) for child in node)
    for child in node:
        name = tag(child)
        member = known.get(name)
        if member is None:
            if name not in beside:
                yield f"{at}: <{name}> is not in the model"
        elif member.serialization.get("flattened"):
            yield from _flattened(member, child, f"{at}.{name}")
        else:
            if counts[name] > 1:
                yield f"{at}: <{name}> is there {counts[name]} times"
            yield from in_xml(member, child, f"{at}.{name}")


def _flattened(shape: Shape, node: Element, at: str) -> Found:
    if isinstance(shape, ListShape):
        yield from in_xml(shape.member, node, at)
    elif isinstance(shape, MapShape):
        yield from _xml_entry(shape, node, at)


def _xml_entry(shape: MapShape, node: Element, at: str) -> Found:
    parts = {shape.key.serialization.get("name", "key"): shape.key}
    parts[shape.value.serialization.get("name", "value")] = shape.value
    for child in node:
        if tag(child) in parts:
            yield from in_xml(parts[tag(child)], child, f"{at}.{tag(child)}")
        else:
            yield f"{at}: <{tag(child)}> is not in the model"


def _xml_name(name: str, member: Shape) -> str:
    """The element's name. A flattened list has its member's name if there is one, as in botocore's parser."""
    if isinstance(member, ListShape) and member.serialization.get("flattened"):
        inner = member.member.serialization.get("name")
        if inner is not None:
            return str(inner)
    return str(member.serialization.get("name", name))


def _in_body(member: Shape) -> bool:
    return "location" not in member.serialization and not member.serialization.get("xmlAttribute")


def tag(node: Element) -> str:
    """An element's name without its namespace."""
    return node.tag.rpartition("}")[2]


def _text(shape: Shape, text: str, at: str) -> Found:
    pattern = _TEXTS.get(shape.type_name)
    if shape.type_name == "timestamp" and shape.serialization.get("timestampFormat", "iso8601") != "iso8601":
        return
    if pattern is not None and not pattern.fullmatch(text):
        yield f"{at}: {text!r} is not a {shape.type_name}"


def in_json(shape: Shape, value: Any, at: str) -> Found:
    """Where a JSON value violates its shape. A null counts as absent."""
    if value is None or getattr(shape, "is_document_type", False):
        return
    types = _JSON_TYPES.get(shape.type_name) or _timestamp_types(shape)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        yield f"{at}: {value!r} is not a {shape.type_name}"
        return
    yield from _JSON_PARTS.get(shape.type_name, _no_parts)(shape, value, at)


def _json_structure(shape: StructureShape, value: Mapping[str, Any], at: str) -> Found:
    known = {member.serialization.get("name", name): member for name, member in shape.members.items()}
    for name, member in value.items():
        if name in known:
            yield from in_json(known[name], member, f"{at}.{name}")
        elif name != "__type":
            yield f"{at}: {name} is not in the model"


def _json_list(shape: ListShape, value: list[Any], at: str) -> Found:
    for number, item in enumerate(value, 1):
        yield from in_json(shape.member, item, f"{at}.{number}")


def _json_map(shape: MapShape, value: Mapping[str, Any], at: str) -> Found:
    for name, item in value.items():
        yield from in_json(shape.value, item, f"{at}.{name}")


def _no_parts(shape: Any, value: Any, at: str) -> Found:
    return iter(())


_JSON_PARTS: Mapping[str, Callable[[Any, Any, str], Found]] = {
    "structure": _json_structure,
    "list": _json_list,
    "map": _json_map,
}


def _timestamp_types(shape: Shape) -> tuple[type, ...]:
    """JSON timestamps are seconds since 1970, unless the model has another format."""
    return _NUMBERS if shape.serialization.get("timestampFormat", "unixTimestamp") == "unixTimestamp" else (str,)
