"""Error responses in a service's protocol, for requests that are refused outside of its response class."""

from __future__ import annotations

from flask import request
from moto.core.exceptions import ServiceException
from moto.core.model import OperationModel
from moto.core.request import determine_request_protocol
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model, service_name_from_moto_package_name
from werkzeug.wrappers import Response

from rehearsal.errors import AwsError


class _Refusal(ServiceException):  # type: ignore[misc] # moto has no types
    """moto writes its own exceptions as errors of the service in whose module they are defined."""


def refused(service: str, operation: str, error: AwsError) -> Response:
    """The error as a response to the current Flask request. `operation`: "" for none. The default status is 400."""
    model = get_service_model(service_name_from_moto_package_name(service))
    protocol = determine_request_protocol(model, request.content_type)
    serializer = get_serializer_class(model.service_name, protocol)(
        operation_model=model.operation_model(operation) if operation else OperationModel({}, model)
    )
    written = serializer.serialize(_Refusal(error.code, error.message))
    return Response(written["body"], status=error.status or 400, headers=written["headers"])
