"""Where a request meets a fault that was asked for: before its service sees it, whichever service that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import request
from werkzeug.wrappers import Response

from rehearsal.calls import operation_of
from rehearsal.conformance.models import operation_model
from rehearsal.conformance.refusals import refused
from rehearsal.errors import AwsError
from rehearsal.faults.settings import Fault, Faults

View = Callable[..., Any]
SERVICES = ("ec2", "iam", "kms", "pricing", "s3", "secretsmanager", "servicequotas", "ssm", "sts")
"""Those a fault can be asked for, by moto's name, as `GET calls` has them."""


def is_served(operation: str) -> bool:
    """Whether there is such an operation, `PutObject` in any of the services or `s3:PutObject` in one."""
    service, _, name = operation.rpartition(":")
    return any(operation_model(one, name) for one in SERVICES if service in ("", one))


def meeting(faults: Faults, service: str, view: View) -> View:
    """A view that has requests to the service meet the faults that are to come."""

    def met(*arguments: Any, **named: Any) -> Any:
        operation = operation_of(service, request)
        fault = faults.meet(service, operation)
        if fault is None:
            return view(*arguments, **named)
        answer = view(*arguments, **named) if fault.takes_effect else None
        return answer if fault.kind == "delay" else _spoilt(service, operation, fault)

    return met


def _spoilt(service: str, operation: str, fault: Fault) -> Response:
    """What is answered in place of AWS's answer. A lost one is an error that `server` cuts the connection at."""
    if fault.kind.startswith("lost"):
        raise ConnectionAbortedError(f"{fault.operation}: {fault.kind}, as asked for")
    if fault.kind == "error":
        return refused(service, operation, AwsError(fault.code, fault.message, fault.status))
    if fault.kind.startswith("server-error"):
        code = "InternalError" if service == "s3" else "InternalFailure"
        return refused(service, operation, AwsError(code, "An internal error has occurred", 500))
    return Response("<html><h1>502 Bad Gateway</h1></html>", status=502, mimetype="text/html")
