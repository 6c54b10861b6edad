"""Requests to the services that are moto's, as AWS checks them by the service's model before it looks at anything else.

EC2 and Systems Manager have limits on how often they are asked, which come first: their classes check for themselves.

Sources
-------
- IAM and STS: a ValidationError in AWS's common words (eks-hybrid 113, aws-credentials-service 7). That a number or
  truth value which isn't one is MalformedInput, and that unknown parameters are passed over, is assumed.
- KMS: ValidationException in the same words (mu 382), for all that its model does not list it (fakecloud 1380).
- Secrets Manager: ValidationException (aws-sdk-js-v3 1215). Those of Pricing and Service Quotas are assumed. All are
  taken to pass over unknown members, as AWS's JSON services do.
- S3: see `s3_requests`.
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
    """AwsError when the service, by moto's name for it, would not take a Flask request as one for the operation."""
    model = operation_model(service, operation)
    if model is not None and service in _CHECKS:
        _CHECKS[service](model, request)


def members(body: str | bytes) -> dict[str, Any]:
    """The members of a request in JSON; AwsError for what isn't that."""
    try:
        given = json.loads(body or "{}")
    except ValueError as error:
        raise AwsError("SerializationException", f"The request is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise AwsError("SerializationException", "The request is not a JSON object")
    return given


def _check_json(model: OperationModel, request: Any) -> None:
    check_request(model.input_shape, members(request.get_data()))


def _check_query(model: OperationModel, request: Any) -> None:
    reading = read(model.input_shape, request.values.to_dict(), is_ec2=False)
    for one in reading.malformed:
        raise AwsError("MalformedInput", f"{one.text} is not a value of {one.name}")
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
