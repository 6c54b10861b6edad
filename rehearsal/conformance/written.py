"""What was written, element by element, against the shape it was written by: in XML, in JSON.

botocore's parsers, like any client's, pass over what they don't know and take much for what was meant. Here whatever
the model lacks is told, and so is a number, truth value or instant that is not written as its protocol has it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from botocore.model import ListShape, MapShape, Shape, StructureShape

Wrong = Iterator[str]

# As RFC 3339 has it: the Go clients, Terraform's among them, take nothing else.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_TEXTS: Mapping[str, re.Pattern[str]] = {
    "boolean": re.compile("true|false"),
    "integer": re.compile(r"-?\d+"),
    "long": re.compile(r"-?\d+"),
    "float": re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?"),
    "double": re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?"),
    "timestamp": _INSTANT,
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


def in_xml(shape: Shape, node: Element, at: str, *, beside: frozenset[str] = frozenset()) -> Wrong:
    """What of an element is not in its shape. `beside`: names of children that a protocol adds to it."""
    if isinstance(shape, StructureShape):
        yield from _xml_structure(shape, node, at, beside)
    elif isinstance(shape, ListShape):
        name = shape.member.serialization.get("name", "member")
        for number, one in enumerate(node, 1):
            if tag(one) == name:
                yield from in_xml(shape.member, one, f"{at}.{number}")
            else:
                yield f"{at}: <{tag(one)}> where the model has <{name}>"
    elif isinstance(shape, MapShape):
        for one in node:
            yield from _xml_entry(shape, one, f"{at}.{tag(one)}")
    else:
        yield from (f"{at}: <{tag(one)}> is not in the model" for one in node)
        yield from _text(shape, node.text or "", at)


def _xml_structure(shape: StructureShape, node: Element, at: str, beside: frozenset[str]) -> Wrong:
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


def _flattened(shape: Shape, node: Element, at: str) -> Wrong:
    if isinstance(shape, ListShape):
        yield from in_xml(shape.member, node, at)
    elif isinstance(shape, MapShape):
        yield from _xml_entry(shape, node, at)


def _xml_entry(shape: MapShape, node: Element, at: str) -> Wrong:
    parts = {shape.key.serialization.get("name", "key"): shape.key}
    parts[shape.value.serialization.get("name", "value")] = shape.value
    for child in node:
        if tag(child) in parts:
            yield from in_xml(parts[tag(child)], child, f"{at}.{tag(child)}")
        else:
            yield f"{at}: <{tag(child)}> is not in the model"


def _xml_name(name: str, member: Shape) -> str:
    """A flattened list goes by its member's name where that has one, as botocore reads it."""
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


def _text(shape: Shape, text: str, at: str) -> Wrong:
    pattern = _TEXTS.get(shape.type_name)
    if shape.type_name == "timestamp" and shape.serialization.get("timestampFormat", "iso8601") != "iso8601":
        return
    if pattern is not None and not pattern.fullmatch(text):
        yield f"{at}: {text!r} is not a {shape.type_name}"


def in_json(shape: Shape, value: Any, at: str) -> Wrong:
    """What of a JSON value is not in its shape. A null is no value at all."""
    if value is None or getattr(shape, "is_document_type", False):
        return
    types = _JSON_TYPES.get(shape.type_name) or _instant_types(shape)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        yield f"{at}: {value!r} is not a {shape.type_name}"
        return
    yield from _JSON_PARTS.get(shape.type_name, _no_parts)(shape, value, at)


def _json_structure(shape: StructureShape, value: Mapping[str, Any], at: str) -> Wrong:
    known = {member.serialization.get("name", name): member for name, member in shape.members.items()}
    for name, one in value.items():
        if name in known:
            yield from in_json(known[name], one, f"{at}.{name}")
        elif name != "__type":
            yield f"{at}: {name} is not in the model"


def _json_list(shape: ListShape, value: list[Any], at: str) -> Wrong:
    for number, one in enumerate(value, 1):
        yield from in_json(shape.member, one, f"{at}.{number}")


def _json_map(shape: MapShape, value: Mapping[str, Any], at: str) -> Wrong:
    for name, one in value.items():
        yield from in_json(shape.value, one, f"{at}.{name}")


def _no_parts(shape: Any, value: Any, at: str) -> Wrong:
    return iter(())


_JSON_PARTS: Mapping[str, Callable[[Any, Any, str], Wrong]] = {
    "structure": _json_structure,
    "list": _json_list,
    "map": _json_map,
}


def _instant_types(shape: Shape) -> tuple[type, ...]:
    """JSON has seconds since 1970 for instants, unless the model says otherwise."""
    return _NUMBERS if shape.serialization.get("timestampFormat", "unixTimestamp") == "unixTimestamp" else (str,)
