"""Violations of botocore's service model by the bytes of a response: `GET misfits`, see docs/rehearsal.md.

The check is independent of what wrote the response, moto or the rehearsal. botocore's parser must accept it, required
members must be present, values must be known to the model, and there must be no unknown elements.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from botocore.model import OperationModel, StructureShape
from botocore.parsers import ResponseParserError, create_parser

from rehearsal.conformance import written
from rehearsal.conformance.models import operation_model
from rehearsal.conformance.validation import not_as_modelled

_MAX_RECORDED = 1000
_KNOWN: Sequence[tuple[str, str, str]] = (
    # AWS returns it for an attached gateway: EC2 API reference, InternetGatewayAttachment.
    ("ec2", "DescribeInternetGateways", r"Value 'available' at '\S+\.attachments\.\d+\.member\.state' failed .+"),
    # AWS returns it in lower case, unlike its model: terraform-provider-aws, internal/service/ec2/consts.go.
    ("ec2", "(Create|Describe)VpcEndpoints?", r"Value 'available' at 'vpcEndpoint\S*\.state' failed .+"),
    # moto's list of instance types comes from a newer AWS than this botocore's model.
    ("ec2", "DescribeInstanceTypes", r"Value 'metal-compatibility' at '\S+\.supportedFeatures\.\d+\.member' failed .+"),
    # moto's additions, which clients ignore in JSON.
    ("kms", "ListRetirableGrants", r": GrantCount is not in the model"),
    ("secretsmanager", "DescribeSecret", r": SecretVersionsToStages is not in the model"),
    ("secretsmanager", "ListSecrets", r"\.SecretList\.\d+: VersionIdsToStages is not in the model"),
    # The body is "True"; no client reads the body of an operation without output.
    ("s3", "PutBucketPolicy", r"it can't be read: .+"),
)
"""Harmless violations by moto, each with its reason: service, operation and violation as regular expressions."""
_CHECKED = ("ec2", "json", "query", "rest-json", "rest-xml")


@dataclass(frozen=True)
class SentResponse:
    """A response as sent. `headers`: by name in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Violations:
    """The recorded violations and their counts. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def note(self, service: str, operation: str, found: list[str]) -> None:
        with self._lock:
            for violation in found:
                if len(self._counts) < _MAX_RECORDED:
                    self._counts[service, operation, violation] += 1

    def forget(self) -> None:
        with self._lock:
            self._counts.clear()

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        with self._lock:
            counts = sorted(self._counts.items())
        return {
            "misfits": [
                {"service": service, "operation": operation, "misfit": violation, "times": times}
                for (service, operation, violation), times in counts
            ]
        }


def violations(service: str, operation: str, response: SentResponse) -> list[str]:
    """How a response violates AWS's model, without the known harmless cases."""
    model = operation_model(service, operation)
    if model is None or model.service_model.metadata["protocol"] not in _CHECKED:
        return []
    try:
        found = list(_in_error(model, response) if response.status >= 300 else _in_result(model, response))
    except (ResponseParserError, ElementTree.ParseError, ValueError, TypeError, KeyError) as error:
        found = [f"it can't be read: {error}"]
    known = [
        violation
        for known_service, operations, violation in _KNOWN
        if known_service == service and re.fullmatch(operations, operation)
    ]
    return [violation for violation in found if not any(re.fullmatch(pattern, violation) for pattern in known)]


def _in_error(model: OperationModel, response: SentResponse) -> Iterator[str]:
    """An error must have a code, unless the response has no body: one to HEAD, or a 304."""
    if not response.body:
        return
    parsed = _parse(model, response)
    code = parsed.get("Error", {}).get("Code")
    if not code or str(code) == str(response.status):
        yield f"an error without a code, status {response.status}"


def _in_result(model: OperationModel, response: SentResponse) -> Iterator[str]:
    parsed = _parse(model, response)
    shape = model.output_shape
    parsed.pop("ResponseMetadata", None)
    if shape is not None:
        yield from not_as_modelled(shape, parsed)
    protocol = str(model.service_model.metadata["protocol"])
    if not response.body or _is_raw(model):
        return
    if "json" in protocol:
        value = json.loads(response.body)
        yield from written.in_json(shape, value, "") if shape is not None else _nothing(value)
    else:
        yield from _in_xml(model, protocol, ElementTree.fromstring(response.body))


def _is_raw(model: OperationModel) -> bool:
    """Whether the body is a raw value, like S3's objects and bucket policies."""
    shape = _or_empty(model.output_shape)
    payload = shape.serialization.get("payload")
    return payload is not None and not isinstance(shape.members[payload], StructureShape)


def _parse(model: OperationModel, response: SentResponse) -> dict[str, Any]:
    """Parse with botocore. Streams are not parsed."""
    is_stream = response.status < 300 and model.has_streaming_output
    content = {
        "body": b"" if is_stream else response.body,
        "headers": response.headers,
        "status_code": response.status,
        "context": {"operation_name": model.name},
    }
    parser = create_parser(str(model.service_model.metadata["protocol"]))
    return dict(parser.parse(content, model.output_shape))  # type: ignore[arg-type] # None is fine


def _in_xml(model: OperationModel, protocol: str, root: Element) -> Iterator[str]:
    shape = model.output_shape
    if protocol == "rest-xml":
        yield from _in_rest_xml(model, root)
        return
    if written.tag(root) != f"{model.name}Response":
        yield f"<{written.tag(root)}> where there should be <{model.name}Response>"
    extra = frozenset({"requestId"} if protocol == "ec2" else {"ResponseMetadata"})
    wrapper = shape.serialization.get("resultWrapper") if shape is not None else None
    if wrapper:
        results = [child for child in root if written.tag(child) == wrapper]
        if len(results) != 1:
            yield f"<{wrapper}> is there {len(results)} times"
        known = {*extra, wrapper}
        yield from (f"<{written.tag(child)}> is not in the model" for child in root if written.tag(child) not in known)
        for result in results:
            yield from written.in_xml(_or_empty(shape), result, "")
    else:
        yield from written.in_xml(_or_empty(shape), root, "", beside=extra)


def _in_rest_xml(model: OperationModel, root: Element) -> Iterator[str]:
    shape = model.output_shape
    if shape is None:
        yield f"<{written.tag(root)}> where there should be nothing"
    elif model.name == "GetBucketLocation":
        # Its only member is the root itself: Smithy's customization s3UnwrappedXmlOutput.
        yield from (f"<{written.tag(child)}> is not in the model" for child in root)
    else:
        payload = shape.serialization.get("payload")
        yield from written.in_xml(shape.members[payload] if payload else shape, root, "")


def _or_empty(shape: StructureShape | None) -> StructureShape:
    """The shape; without one, a shape without members."""
    return StructureShape("Nothing", {"type": "structure", "members": {}}) if shape is None else shape


def _nothing(value: Any) -> Iterator[str]:
    if value:
        yield f"{value!r} where there should be nothing"
