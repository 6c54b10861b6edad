"""Every answer, as the bytes that leave, against botocore's service model: `GET misfits`, see docs/rehearsal.md.

Whatever wrote an answer, moto or the rehearsal, has no part in checking it. botocore's own parser reads it; what it
read has the members that are required and the values the model knows; and nothing was written that it passed over.
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

_MOST_KEPT = 1000
_KNOWN: Sequence[tuple[str, str, str]] = (
    # AWS itself says so of a gateway that is attached: EC2 API reference, InternetGatewayAttachment.
    ("ec2", "DescribeInternetGateways", r"Value 'available' at '\S+\.attachments\.\d+\.member\.state' failed .+"),
    # AWS says it in small letters, whatever its model has: terraform-provider-aws, internal/service/ec2/consts.go.
    ("ec2", "(Create|Describe)VpcEndpoints?", r"Value 'available' at 'vpcEndpoint\S*\.state' failed .+"),
    # moto's list of instance types comes from a newer AWS than this botocore's model.
    ("ec2", "DescribeInstanceTypes", r"Value 'metal-compatibility' at '\S+\.supportedFeatures\.\d+\.member' failed .+"),
    # moto's own additions; what a client gets from JSON is what its model has.
    ("kms", "ListRetirableGrants", r": GrantCount is not in the model"),
    ("secretsmanager", "DescribeSecret", r": SecretVersionsToStages is not in the model"),
    ("secretsmanager", "ListSecrets", r"\.SecretList\.\d+: VersionIdsToStages is not in the model"),
    # It says "True"; no client reads the answer to an operation without output.
    ("s3", "PutBucketPolicy", r"it can't be read: .+"),
)
"""Where moto's answers differ from the model, and nobody is hurt: each with its reason. There is no other exception."""
_CHECKED = ("ec2", "json", "query", "rest-json", "rest-xml")


@dataclass(frozen=True)
class Answer:
    """One answer as it leaves. `headers` by names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Misfits:
    """What did not fit, and how often. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: Counter[tuple[str, str, str]] = Counter()

    def note(self, service: str, operation: str, wrong: list[str]) -> None:
        with self._lock:
            for one in wrong:
                if len(self._counted) < _MOST_KEPT:
                    self._counted[service, operation, one] += 1

    def forget(self) -> None:
        with self._lock:
            self._counted.clear()

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        with self._lock:
            counted = sorted(self._counted.items())
        return {
            "misfits": [
                {"service": service, "operation": operation, "misfit": one, "times": times}
                for (service, operation, one), times in counted
            ]
        }


def misfits(service: str, operation: str, answer: Answer) -> list[str]:
    """What of an answer does not fit, empty for one that is as AWS's model has it."""
    model = operation_model(service, operation)
    if model is None or model.service_model.metadata["protocol"] not in _CHECKED:
        return []
    try:
        told = list(_of_error(model, answer) if answer.status >= 300 else _of_result(model, answer))
    except (ResponseParserError, ElementTree.ParseError, ValueError, TypeError, KeyError) as error:
        told = [f"it can't be read: {error}"]
    known = [one for about, which, one in _KNOWN if about == service and re.fullmatch(which, operation)]
    return [one for one in told if not any(re.fullmatch(pattern, one) for pattern in known)]


def _of_error(model: OperationModel, answer: Answer) -> Iterator[str]:
    """An error has a code, unless the answer has no body: one to HEAD, or that nothing has changed."""
    if not answer.body:
        return
    read = _read(model, answer)
    code = read.get("Error", {}).get("Code")
    if not code or str(code) == str(answer.status):
        yield f"an error without a code, status {answer.status}"


def _of_result(model: OperationModel, answer: Answer) -> Iterator[str]:
    read = _read(model, answer)
    shape = model.output_shape
    read.pop("ResponseMetadata", None)
    if shape is not None:
        yield from not_as_modelled(shape, read)
    protocol = str(model.service_model.metadata["protocol"])
    if not answer.body or _is_raw(model):
        return
    if "json" in protocol:
        value = json.loads(answer.body)
        yield from written.in_json(shape, value, "") if shape is not None else _nothing(value)
    else:
        yield from _of_xml(model, protocol, ElementTree.fromstring(answer.body))


def _is_raw(model: OperationModel) -> bool:
    """Whether the body of an answer is one value as it is, like S3's objects and the policies of its buckets."""
    shape = _known(model.output_shape)
    payload = shape.serialization.get("payload")
    return payload is not None and not isinstance(shape.members[payload], StructureShape)


def _read(model: OperationModel, answer: Answer) -> dict[str, Any]:
    """As botocore reads it. A stream is not read at all."""
    streamed = answer.status < 300 and model.has_streaming_output
    response = {
        "body": b"" if streamed else answer.body,
        "headers": answer.headers,
        "status_code": answer.status,
        "context": {"operation_name": model.name},
    }
    parser = create_parser(str(model.service_model.metadata["protocol"]))
    return dict(parser.parse(response, model.output_shape))  # type: ignore[arg-type] # None is fine


def _of_xml(model: OperationModel, protocol: str, root: Element) -> Iterator[str]:
    shape = model.output_shape
    if protocol == "rest-xml":
        yield from _of_rest_xml(model, root)
        return
    if written.tag(root) != f"{model.name}Response":
        yield f"<{written.tag(root)}> where there should be <{model.name}Response>"
    beside = frozenset({"requestId"} if protocol == "ec2" else {"ResponseMetadata"})
    wrapper = shape.serialization.get("resultWrapper") if shape is not None else None
    if wrapper:
        results = [child for child in root if written.tag(child) == wrapper]
        if len(results) != 1:
            yield f"<{wrapper}> is there {len(results)} times"
        known = {*beside, wrapper}
        yield from (f"<{written.tag(one)}> is not in the model" for one in root if written.tag(one) not in known)
        for result in results:
            yield from written.in_xml(_known(shape), result, "")
    else:
        yield from written.in_xml(_known(shape), root, "", beside=beside)


def _of_rest_xml(model: OperationModel, root: Element) -> Iterator[str]:
    shape = model.output_shape
    if shape is None:
        yield f"<{written.tag(root)}> where there should be nothing"
    elif model.name == "GetBucketLocation":
        # Its one member is the root itself: Smithy's customization s3UnwrappedXmlOutput.
        yield from (f"<{written.tag(one)}> is not in the model" for one in root)
    else:
        payload = shape.serialization.get("payload")
        yield from written.in_xml(shape.members[payload] if payload else shape, root, "")


def _known(shape: StructureShape | None) -> StructureShape:
    """A shape without members for an answer that has no output."""
    return StructureShape("Nothing", {"type": "structure", "members": {}}) if shape is None else shape


def _nothing(value: Any) -> Iterator[str]:
    if value:
        yield f"{value!r} where there should be nothing"
