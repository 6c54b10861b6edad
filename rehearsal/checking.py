"""Where answers are checked, whichever service they are of: once they are written, before they leave."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import request
from moto.core.utils import camelcase_to_underscores
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from rehearsal.calls import operation_of
from rehearsal.errors import AwsError
from rehearsal.misfits import Answer, Misfits, misfits
from rehearsal.refusals import refused

View = Callable[..., Response]


def checked(found: Misfits, service: str, ours: type[Any] | None, view: View) -> View:
    """A view whose misfitting answers are noted. `ours`: the rehearsal's class behind the service, None for moto's.

    One of an operation of the rehearsal's own is not given: it is a defect, and better seen at once.
    """

    def view_checked(*arguments: Any, **named: Any) -> Response:
        try:
            response = view(*arguments, **named)
        except HTTPException as error:
            response = error.get_response()
        operation = operation_of(service, request)
        headers = {name.lower(): value for name, value in response.headers.items()}
        wrong = misfits(service, operation, Answer(response.status_code, headers, response.get_data()))
        if not wrong:
            return response
        found.note(service, operation, wrong)
        told = f"an answer that the model does not have: {'; '.join(wrong)}"
        logging.getLogger(__name__).warning("%s %s: %s", service, operation, told)
        if not _is_ours(ours, operation):
            return response
        return refused(service, operation, AwsError("UnsupportedOperation", f"The rehearsal failed: {told}"))

    return view_checked


def _is_ours(ours: type[Any] | None, operation: str) -> bool:
    method = getattr(ours, camelcase_to_underscores(operation), None) if operation else None
    return method is not None and method.__module__.startswith("rehearsal.")
