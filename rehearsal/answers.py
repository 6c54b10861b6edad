"""The base of the rehearsal's service classes: AWS's errors in the service's protocol, pages, filters."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar, TypeVar

from botocore.model import OperationNotFoundError
from moto.core.exceptions import ServiceException
from moto.core.parse import RequestParserError
from moto.core.responses import ActionResult, BaseResponse

from rehearsal.aws import neuron_images
from rehearsal.conformance import requests
from rehearsal.errors import AwsError
from rehearsal.world import World

T = TypeVar("T")


class ServiceError(ServiceException):  # type: ignore[misc] # moto has no types
    """An error that moto writes by the service model, for services without such an exception in moto."""


class RehearsalResponse(BaseResponse):  # type: ignore[misc] # moto has no types
    """Mixed in before a moto response class; `rehearsal.services` makes a subclass of it bound to a world.

    moto dispatches `SomeOperation` to the method `some_operation`, which returns an `ActionResult`; moto then
    writes it by botocore's service model. So adding an operation is adding a method.
    """

    world: ClassVar[World]
    refusal: ClassVar[type[ServiceException]]
    """moto's exception of the service: moto chooses how to write an error by the module of its class."""
    _parse_error: Exception | None = None

    def check(self) -> None:
        """AwsError for a request that the service refuses before it looks at the operation."""

    def parse_parameters(self, request: Any) -> None:
        """Parse as moto does, but leave errors to `check`, which says what is wrong; moto would return a status 500."""
        self.params: Any = {}
        try:
            super().parse_parameters(request)
        except OperationNotFoundError:
            return
        except (RequestParserError, ValueError) as error:
            self._parse_error = error

    def _query_parameters(self) -> dict[str, str]:
        """The parameters of a request in a query protocol."""
        return {name: str(values[0]) for name, values in self.querystring.items()}

    def _json_members(self) -> dict[str, Any]:
        """The members of a request in a JSON protocol; AwsError when it is not JSON."""
        return requests.members(self.body)

    def call_action(self) -> Any:
        neuron_images.publish(self.current_account, self.region)
        self.world.settle()
        try:
            self.check()
            if self._parse_error:
                raise AwsError("InvalidParameterValue", f"The request can't be read: {self._parse_error}")
            return super().call_action()
        except AwsError as error:
            return self._error_response(error)

    def _error_response(self, error: AwsError) -> Any:
        """The error in the service's protocol, with the model's status unless the error has one."""
        status, headers, body = self.serialized(ActionResult(self.refusal(error.code, error.message)))
        status = error.status or status
        headers, body = self._enrich_response({**headers, "status": str(status)}, body)
        return status, headers, body


def page(items: Sequence[T], size: int, token: str | None, *, bad_token: str) -> tuple[list[T], str | None]:
    """One page of `items` and the token of the next; AwsError with the code `bad_token` for an invalid token."""
    start = 0
    if token:
        try:
            start = int(base64.urlsafe_b64decode(token.encode()).decode().removeprefix("from "))
        except (binascii.Error, ValueError) as error:
            raise AwsError(bad_token, "The specified pagination token is not valid.") from error
    end = start + size
    following = base64.urlsafe_b64encode(f"from {end}".encode()).decode() if end < len(items) else None
    return list(items[start:end]), following


def matches(value: str | Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a value, or any of several, matches one of a filter's patterns with the wildcards `*` and `?`."""
    values = [value] if isinstance(value, str) else value
    escaped = [pattern.replace("[", "[[]") for pattern in patterns]
    return any(fnmatchcase(value, pattern) for value in values for pattern in escaped)
