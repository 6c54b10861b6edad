"""Requests to S3 against its model: what a query and headers say, and the XML of a body.

Sources
-------
- The codes and texts for XML, missing headers and bodies, storage classes, encryption and locations: S3 API reference,
  "Error responses". That a value which the model does not know makes XML malformed: aws-controllers-k8s 1505.
- InvalidArgument and its two texts for numbers: backlot 192, floci 3510. The text for other values is assumed.
- Unknown headers and parameters of a query are passed over, as AWS's own clients rely on (`x-id`). Dates are not looked
  at: one in a condition's header that can't be read would be no condition (RFC 9110, 13.1.3), and moto fails at it.
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

_HIGHEST = 2**31 - 1
_MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"
_OF_HEADERS: Mapping[str, tuple[str, str]] = {
    "StorageClass": ("InvalidStorageClass", "The storage class you specified is not valid"),
    "ServerSideEncryption": ("InvalidEncryptionAlgorithmError", "The encryption request you specified is not valid"),
}
"""Words of headers with a code of their own, by shape."""


def check(model: OperationModel, request: Any) -> None:
    """AwsError when S3 would not take a Flask request as one for the operation."""
    shape = model.input_shape
    if shape is None:
        return
    for name, member in shape.members.items():
        place = member.serialization.get("location")
        if place in ("header", "querystring"):
            given = (request.headers if place == "header" else request.args).get(member.serialization["name"])
            _check_value(member, given, is_required=place == "header" and name in shape.required_members)
    payload = shape.serialization.get("payload")
    sent = shape.members[payload] if payload else None
    if isinstance(sent, StructureShape) and not _is_in_chunks(request):
        _check_body(sent, request.get_data(), is_required=payload in shape.required_members)


def _is_in_chunks(request: Any) -> bool:
    """Whether the body has signatures or checksums between its parts: only objects are sent so, by AWS's clients."""
    return str(request.headers.get("X-Amz-Content-Sha256", "")).startswith("STREAMING-")


def _check_value(member: Shape, given: str | None, *, is_required: bool) -> None:
    name = member.serialization["name"]
    if given is None:
        if is_required:
            raise AwsError("MissingSecurityHeader", f"Your request was missing a required header: {name}")
    elif isinstance(member, ListShape):
        for one in given.split(","):
            _check_word(member.member, name, one.strip())
    elif member.type_name in ("integer", "long"):
        _check_number(name, given)
    elif member.type_name == "boolean":
        if given.lower() not in ("true", "false"):
            raise _invalid(name, given)
    else:
        _check_word(member, name, given)


def _check_word(shape: Shape, name: str, given: str) -> None:
    if given not in shape.metadata.get("enum", [given]):
        if shape.name in _OF_HEADERS:
            raise AwsError(*_OF_HEADERS[shape.name])
        raise _invalid(name, given)


def _check_number(name: str, given: str) -> None:
    try:
        number = int(given)
    except ValueError:
        number = _HIGHEST + 1
    if number > _HIGHEST and name != "Content-Length":
        raise AwsError("InvalidArgument", f"Provided {name} not an integer or within integer range")
    if number < 0:
        first, *others = name.split("-")
        called = first + "".join(one.capitalize() for one in others)
        raise AwsError("InvalidArgument", f"Argument {called} must be an integer between 0 and {_HIGHEST}")


def _invalid(name: str, given: str) -> AwsError:
    return AwsError("InvalidArgument", f"The value {given} of {name} is not valid")


def _check_body(shape: StructureShape, body: bytes, *, is_required: bool) -> None:
    if not body:
        if is_required:
            raise AwsError("MissingRequestBodyError", "Request Body is empty")
        return
    for wrong in _of_body(shape, body):
        if "locationConstraint" in wrong:
            raise AwsError("InvalidLocationConstraint", "The specified location-constraint is not valid")
        raise AwsError("MalformedXML", _MALFORMED)


def _of_body(shape: StructureShape, body: bytes) -> Iterator[str]:
    """What of a body is not in its shape. Unlike an answer's, its root has the name that the model gives it."""
    try:
        root = ElementTree.fromstring(body)
        if written.tag(root) != shape.serialization.get("name", shape.name):
            yield f"<{written.tag(root)}>"
        yield from written.in_xml(shape, root, "")
        response = {"body": body, "headers": {}, "status_code": 200, "context": {}}
        read = create_parser("rest-xml").parse(response, shape)
    except (ResponseParserError, ElementTree.ParseError, ValueError, TypeError, KeyError) as error:
        yield str(error)
        return
    read.pop("ResponseMetadata", None)
    yield from not_as_modelled(shape, read)
