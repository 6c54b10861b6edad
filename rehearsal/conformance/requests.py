"""Validation of requests against the service's model, before moto gets them.

EC2 and Systems Manager check rate limits first, so their response classes validate requests themselves.

Sources
-------
- IAM and STS: a ValidationError with AWS's common texts (eks-hybrid 113, aws-credentials-service 7). That a malformed
  number or boolean is MalformedInput, and that unknown parameters are ignored, is assumed.
- KMS: ValidationException with the same texts (mu 382), although its model does not list it (fakecloud 1380).
- Secrets Manager: ValidationException (aws-sdk-js-v3 1215). Those of Pricing and Service Quotas are assumed, and that
  all ignore unknown members, as AWS's JSON services do.
- S3: see `aws.s3.requests`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.model import OperationModel

from rehearsal.aws.s3 import requests
from rehearsal.conformance.models import operation_model
from rehearsal.conformance.query import read
from rehearsal.conformance.validation import check_request
from rehearsal.errors import AwsError


def check(service: str, operation: str, request: Any) -> None:
    """AwsError when a Flask request is not valid for the operation. `service`: moto's name for it."""
    model = operation_model(service, operation)
    if model is not None and service in _CHECKS:
        _CHECKS[service](model, request)


def members(body: str | bytes) -> dict[str, Any]:
    """The members of a JSON request; AwsError when it is not a JSON object."""
    try:
        content = json.loads(body or "{}")
    except ValueError as error:
        raise AwsError("SerializationException", f"The request is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise AwsError("SerializationException", "The request is not a JSON object")
    return content


def _check_json(model: OperationModel, request: Any) -> None:
    check_request(model.input_shape, members(request.get_data()))


def _check_query(model: OperationModel, request: Any) -> None:
    reading = read(model.input_shape, request.values.to_dict(), is_ec2=False)
    for parameter in reading.malformed:
        raise AwsError("MalformedInput", f"{parameter.text} is not a value of {parameter.name}")
    check_request(model.input_shape, reading.values, code="ValidationError")


_CHECKS: Mapping[str, Callable[[OperationModel, Any], None]] = {
    "iam": _check_query,
    "kms": _check_json,
    "pricing": _check_json,
    "s3": requests.check,
    "secretsmanager": _check_json,
    "servicequotas": _check_json,
    "sts": _check_query,
}
