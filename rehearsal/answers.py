"""What every service the rehearsal adds to answers with: AWS's errors, in the service's own protocol."""

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


class RehearsalResponse(BaseResponse):  # type: ignore[misc] # moto has no types
    """Mixed in before a moto response class; `rehearsal.server` makes a subclass of it bound to a world.

    moto dispatches `SomeOperation` to the method `some_operation`, which returns an `ActionResult`; moto then
    writes it by botocore's service model. So adding an operation is adding a method.
    """

    world: ClassVar[World]
    refusal: ClassVar[type[ServiceException]]
    """moto's exception of the service: moto looks up how to write an error by the module it comes from."""
    _unread: Exception | None = None
    """Why moto could not read the request."""

    def check(self) -> None:
        """AwsError for a request that the service refuses whatever its operation."""

    def parse_parameters(self, request: Any) -> None:
        """moto's, but what can't be read is left to `check`, which says why; by moto it would be a status 500."""
        self.params: Any = {}
        try:
            super().parse_parameters(request)
        except OperationNotFoundError:
            return
        except (RequestParserError, ValueError) as error:
            self._unread = error

    def _given(self) -> dict[str, str]:
        """The parameters of a request in a query protocol."""
        return {name: str(values[0]) for name, values in self.querystring.items()}

    def _given_json(self) -> dict[str, Any]:
        """The members of a request in JSON; AwsError for what isn't that."""
        return requests.members(self.body)

    def call_action(self) -> Any:
        neuron_images.publish(self.current_account, self.region)
        self.world.settle()
        try:
            self.check()
            if self._unread:
                raise AwsError("InvalidParameterValue", f"The request can't be read: {self._unread}")
            return super().call_action()
        except AwsError as error:
            return self._refuse(error)

    def _refuse(self, error: AwsError, status: int = 0) -> Any:
        """The error in the service's protocol, with its model's status unless there is another one."""
        modelled, headers, body = self.serialized(ActionResult(self.refusal(error.code, error.message)))
        status = status or error.status or modelled
        headers, body = self._enrich_response({**headers, "status": str(status)}, body)
        return status, headers, body


def page(items: Sequence[T], size: int, token: str | None, *, bad_token: str) -> tuple[list[T], str | None]:
    """One page of `items` and the token for the next; AwsError with the code `bad_token` for one not given out."""
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
    """Whether a value, or any of several, matches an EC2 filter's values: `*` and `?` are wildcards."""
    values = [value] if isinstance(value, str) else value
    escaped = [pattern.replace("[", "[[]") for pattern in patterns]
    return any(fnmatchcase(one, pattern) for one in values for pattern in escaped)
