"""Validation of requests before the service gets them, and of responses before they are sent, for every service."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import request
from moto.core.utils import camelcase_to_underscores
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from rehearsal.calls import operation_of
from rehearsal.conformance import requests
from rehearsal.conformance.refusals import refused
from rehearsal.conformance.violations import SentResponse, Violations, violations
from rehearsal.errors import AwsError

View = Callable[..., Response]


def checked(recorded: Violations, service: str, response_class: type[Any] | None, view: View) -> View:
    """A view that refuses invalid requests and records responses that violate the model.

    `response_class`: the rehearsal's class of the service, None for moto's. For its own operations a violation is a
    defect, so an error is returned instead of the response.
    """

    def respond(operation: str, arguments: Any, named: Any) -> Response:
        try:
            requests.check(service, operation, request)
            return view(*arguments, **named)
        except AwsError as error:
            return refused(service, operation, error)
        except HTTPException as error:
            return error.get_response()
        except NotImplementedError as error:
            return _unsupported(service, operation, f"The rehearsal does not model this: {error}")
        except Exception as error:
            # Clients would retry a 500 for minutes and hide a defect of the rehearsal.
            logging.getLogger(__name__).exception("%s %s failed", service, operation)
            return _unsupported(service, operation, f"The rehearsal failed: {error!r}; see its log.")

    def checked_view(*arguments: Any, **named: Any) -> Response:
        operation = operation_of(service, request)
        response = respond(operation, arguments, named)
        headers = {name.lower(): value for name, value in response.headers.items()}
        found = violations(service, operation, SentResponse(response.status_code, headers, response.get_data()))
        if not found:
            return response
        recorded.note(service, operation, found)
        message = f"the response violates the model: {'; '.join(found)}"
        logging.getLogger(__name__).warning("%s %s: %s", service, operation, message)
        if not _is_own_operation(response_class, operation):
            return response
        return _unsupported(service, operation, f"The rehearsal failed: {message}")

    return checked_view


def _unsupported(service: str, operation: str, message: str) -> Response:
    return refused(service, operation, AwsError("UnsupportedOperation", message))


def _is_own_operation(response_class: type[Any] | None, operation: str) -> bool:
    method = getattr(response_class, camelcase_to_underscores(operation), None) if operation else None
    return method is not None and method.__module__.startswith("rehearsal.")
