"""Injection of faults into requests, before their service gets them."""

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
"""The services that can have faults, by moto's name, as in `GET calls`."""


def is_served(operation: str) -> bool:
    """Whether the operation exists: `PutObject` in any service, or `s3:PutObject` in one."""
    service, _, name = operation.rpartition(":")
    return any(operation_model(candidate, name) for candidate in SERVICES if service in ("", candidate))


def with_faults(faults: Faults, service: str, view: View) -> View:
    """A view that applies the faults to requests."""

    def faulty_view(*arguments: Any, **named: Any) -> Any:
        operation = operation_of(service, request)
        fault = faults.meet(service, operation)
        if fault is None:
            return view(*arguments, **named)
        response = view(*arguments, **named) if fault.takes_effect else None
        return response if fault.kind == "delay" else _faulty_response(service, operation, fault)

    return faulty_view


def _faulty_response(service: str, operation: str, fault: Fault) -> Response:
    """The response that replaces AWS's. A lost one is an exception, on which `server` closes the connection."""
    if fault.kind.startswith("lost"):
        raise ConnectionAbortedError(f"{fault.operation}: {fault.kind}, an injected fault")
    if fault.kind == "error":
        return refused(service, operation, AwsError(fault.code, fault.message, fault.status))
    if fault.kind.startswith("server-error"):
        code = "InternalError" if service == "s3" else "InternalFailure"
        return refused(service, operation, AwsError(code, "An internal error has occurred", 500))
    return Response("<html><h1>502 Bad Gateway</h1></html>", status=502, mimetype="text/html")
