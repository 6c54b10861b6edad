"""Parsing of requests in the EC2 protocol and in the query protocol of IAM and STS, by the shape of the request.

Both encode structures and lists as flat names, `BlockDeviceMapping.1.Ebs.VolumeSize`. The names of members, and that
lists have `.member.` in the query protocol only, are as in botocore's `serialize`. Invalid parameters are collected,
not raised, because each service has its own errors for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.utils import parse_timestamp

# Parameters of every request, and those of signatures in a URL.
_COMMON = {
    "Action",
    "Version",
    "AUTHPARAMS",
    "AWSAccessKeyId",
    "ContentType",
    "Expires",
    "SecurityToken",
    "Signature",
    "SignatureMethod",
    "SignatureVersion",
    "Timestamp",
}


@dataclass(frozen=True)
class Malformed:
    """A parameter whose text is not a value of its type. `name`: in the model."""

    name: str
    text: str
    type_name: str


@dataclass
class Reading:
    """A parsed request. `unknown`: parameters, or members of them, that the model lacks."""

    values: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)


def read(shape: Shape | None, parameters: Mapping[str, str], *, is_ec2: bool) -> Reading:
    """Parse the parameters of a request. `shape`: None for an operation without input."""
    tree: dict[str, Any] = {}
    for name, text in parameters.items():
        if name not in _COMMON and not name.startswith("X-Amz-"):
            _insert(tree, name, text)
    reading = Reading()
    nothing = StructureShape("Nothing", {"type": "structure", "members": {}})
    reading.values = _Reader(reading, is_ec2).value(shape or nothing, tree, "")
    return reading


def _insert(tree: dict[str, Any], name: str, text: str) -> None:
    """Insert a parameter into the tree; the text of a node has the key ""."""
    node = tree
    for part in name.split("."):
        node = node.setdefault(part, {})
    node[""] = text


def parameter_name(name: str, member: Shape) -> str:
    """EC2's name for a member."""
    located = str(member.serialization.get("name", name))
    return str(member.serialization.get("queryName", located if located == name else located[0].upper() + located[1:]))


class _Reader:
    def __init__(self, into: Reading, is_ec2: bool) -> None:
        self._into = into
        self._is_ec2 = is_ec2

    def value(self, shape: Shape, node: Mapping[str, Any], name: str) -> Any:
        if isinstance(shape, StructureShape):
            return self._structure(shape, node)
        if isinstance(shape, ListShape):
            return [self.value(shape.member, item, name) for item in self._items(shape, node)]
        if isinstance(shape, MapShape):
            return dict(self._entries(shape, node, name))
        self._into.unknown += [part for part in node if part]
        return self._scalar(shape, node.get("", ""), name)

    def _structure(self, shape: StructureShape, node: Mapping[str, Any]) -> dict[str, Any]:
        read, known = {}, {""}
        for name, member in shape.members.items():
            written = self._name(name, member)
            known.add(written)
            if written in node:
                read[name] = self.value(member, node[written], name)
        self._into.unknown += [part for part in node if part not in known]
        return read

    def _name(self, name: str, member: Shape) -> str:
        if self._is_ec2:
            return parameter_name(name, member)
        if isinstance(member, ListShape) and member.serialization.get("flattened"):
            return str(member.member.serialization.get("name") or member.serialization.get("name", name))
        return str(member.serialization.get("name", name))

    def _items(self, shape: ListShape, node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The items, sorted by their numbers, which may have gaps. An empty list is a name without a number."""
        if not self._is_ec2 and not shape.serialization.get("flattened"):
            inner = shape.member.serialization.get("name", "member")
            self._into.unknown += [part for part in node if part not in ("", inner)]
            node = node.get(inner, {})
        numbers = [part for part in node if part.isdecimal()]
        self._into.unknown += [part for part in node if part and not part.isdecimal()]
        yield from (node[number] for number in sorted(numbers, key=int))

    def _entries(self, shape: MapShape, node: Mapping[str, Any], name: str) -> Iterator[tuple[Any, Any]]:
        entries = node if shape.serialization.get("flattened") else node.get("entry", {})
        for entry in (entries[number] for number in entries if number.isdecimal()):
            key = entry.get(shape.key.serialization.get("name", "key"), {})
            value = entry.get(shape.value.serialization.get("name", "value"), {})
            yield self.value(shape.key, key, name), self.value(shape.value, value, name)

    def _scalar(self, shape: Shape, text: str, name: str) -> Any:
        """The value of a text. Empty text, which clients send for a missing value, is None or "" by type."""
        if not text:
            return None if shape.type_name in _READ else text
        try:
            return _READ.get(shape.type_name, str)(text)
        except ValueError:
            self._into.malformed.append(Malformed(name, text, shape.type_name))
            return None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_READ: Mapping[str, Any] = {
    "boolean": _boolean,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "timestamp": parse_timestamp,
}
