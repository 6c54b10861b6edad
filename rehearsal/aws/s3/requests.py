"""Validation of S3 requests against botocore's model: query, headers and the XML body.

Sources
-------
- Codes and texts for XML, missing headers and bodies, storage classes, encryption and locations: S3 API reference,
  "Error responses". A value that the model does not know makes XML malformed: aws-controllers-k8s 1505.
- InvalidArgument and its two texts for numbers: backlot 192, floci 3510. The text for other values is assumed.
- Unknown headers and query parameters are ignored; AWS's own clients rely on it (`x-id`). Dates are not validated: a
  conditional header with an invalid date counts as absent (RFC 9110, 13.1.3), and moto raises an error for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from botocore.model import ListShape, OperationModel, Shape, StructureShape
from botocore.parsers import ResponseParserError, create_parser

from rehearsal.conformance import written
from rehearsal.conformance.validation import not_as_modelled
from rehearsal.errors import AwsError

_MAX_INTEGER = 2**31 - 1
_MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"
_HEADER_ERRORS: Mapping[str, tuple[str, str]] = {
    "StorageClass": ("InvalidStorageClass", "The storage class you specified is not valid"),
    "ServerSideEncryption": ("InvalidEncryptionAlgorithmError", "The encryption request you specified is not valid"),
}
"""Errors for invalid enum values that have a code of their own, by shape."""


def check(model: OperationModel, request: Any) -> None:
    """AwsError when a Flask request is not valid for the operation."""
    shape = model.input_shape
    if shape is None:
        return
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        if location in ("header", "querystring"):
            value = (request.headers if location == "header" else request.args).get(member.serialization["name"])
            _check_value(member, value, is_required=location == "header" and name in shape.required_members)
    payload = shape.serialization.get("payload")
    body_shape = shape.members[payload] if payload else None
    if isinstance(body_shape, StructureShape) and not _is_chunked(request):
        _check_body(body_shape, request.get_data(), is_required=payload in shape.required_members)


def _is_chunked(request: Any) -> bool:
    """Whether the body has signatures or checksums between chunks, in which AWS's clients send objects only."""
    return str(request.headers.get("X-Amz-Content-Sha256", "")).startswith("STREAMING-")


def _check_value(member: Shape, value: str | None, *, is_required: bool) -> None:
    name = member.serialization["name"]
    if value is None:
        if is_required:
            raise AwsError("MissingSecurityHeader", f"Your request was missing a required header: {name}")
    elif isinstance(member, ListShape):
        for item in value.split(","):
            _check_enum(member.member, name, item.strip())
    elif member.type_name in ("integer", "long"):
        _check_number(name, value)
    elif member.type_name == "boolean":
        if value.lower() not in ("true", "false"):
            raise _invalid(name, value)
    else:
        _check_enum(member, name, value)


def _check_enum(shape: Shape, name: str, value: str) -> None:
    if value not in shape.metadata.get("enum", [value]):
        if shape.name in _HEADER_ERRORS:
            raise AwsError(*_HEADER_ERRORS[shape.name])
        raise _invalid(name, value)


def _check_number(name: str, value: str) -> None:
    try:
        number = int(value)
    except ValueError:
        number = _MAX_INTEGER + 1
    if number > _MAX_INTEGER and name != "Content-Length":
        raise AwsError("InvalidArgument", f"Provided {name} not an integer or within integer range")
    if number < 0:
        first, *rest = name.split("-")
        argument = first + "".join(word.capitalize() for word in rest)
        raise AwsError("InvalidArgument", f"Argument {argument} must be an integer between 0 and {_MAX_INTEGER}")


def _invalid(name: str, value: str) -> AwsError:
    return AwsError("InvalidArgument", f"The value {value} of {name} is not valid")


def _check_body(shape: StructureShape, body: bytes, *, is_required: bool) -> None:
    if not body:
        if is_required:
            raise AwsError("MissingRequestBodyError", "Request Body is empty")
        return
    for violation in _body_violations(shape, body):
        if "locationConstraint" in violation:
            raise AwsError("InvalidLocationConstraint", "The specified location-constraint is not valid")
        raise AwsError("MalformedXML", _MALFORMED)


def _body_violations(shape: StructureShape, body: bytes) -> Iterator[str]:
    """Where the body differs from the model. Unlike a response's, its root has the name in the model."""
    try:
        root = ElementTree.fromstring(body)
        if written.tag(root) != shape.serialization.get("name", shape.name):
            yield f"<{written.tag(root)}>"
        yield from written.in_xml(shape, root, "")
        response = {"body": body, "headers": {}, "status_code": 200, "context": {}}
        parsed = create_parser("rest-xml").parse(response, shape)
    except (ResponseParserError, ElementTree.ParseError, ValueError, TypeError, KeyError) as error:
        yield str(error)
        return
    parsed.pop("ResponseMetadata", None)
    yield from not_as_modelled(shape, parsed)
