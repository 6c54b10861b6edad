"""Where requests and answers are checked, whichever service they are of: before it has them, before they leave."""

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
from rehearsal.conformance.violations import Answer, Misfits, misfits
from rehearsal.errors import AwsError

View = Callable[..., Response]


def checked(found: Misfits, service: str, ours: type[Any] | None, view: View) -> View:
    """A view that refuses what is no request, and whose misfitting answers are noted.

    `ours`: the rehearsal's class behind the service, None for moto's. A misfitting answer of an operation of its own is
    not given: it is a defect, and better seen at once.
    """

    def answer(operation: str, arguments: Any, named: Any) -> Response:
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
            # A 500 would have every client retry for minutes; a defect of the rehearsal is better seen at once.
            logging.getLogger(__name__).exception("%s %s failed", service, operation)
            return _unsupported(service, operation, f"The rehearsal failed: {error!r}; see its log.")

    def view_checked(*arguments: Any, **named: Any) -> Response:
        operation = operation_of(service, request)
        response = answer(operation, arguments, named)
        headers = {name.lower(): value for name, value in response.headers.items()}
        wrong = misfits(service, operation, Answer(response.status_code, headers, response.get_data()))
        if not wrong:
            return response
        found.note(service, operation, wrong)
        told = f"an answer that the model does not have: {'; '.join(wrong)}"
        logging.getLogger(__name__).warning("%s %s: %s", service, operation, told)
        if not _is_ours(ours, operation):
            return response
        return _unsupported(service, operation, f"The rehearsal failed: {told}")

    return view_checked


def _unsupported(service: str, operation: str, told: str) -> Response:
    return refused(service, operation, AwsError("UnsupportedOperation", told))


def _is_ours(ours: type[Any] | None, operation: str) -> bool:
    method = getattr(ours, camelcase_to_underscores(operation), None) if operation else None
    return method is not None and method.__module__.startswith("rehearsal.")
