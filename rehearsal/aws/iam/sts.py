"""STS as moto has it, but that the sessions of GetSessionToken are real: moto gives everybody the same key.

A federated user's would be, too. GetFederationToken is refused: nobody here needs one.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from moto.core.responses import ActionResult
from moto.sts.exceptions import STSClientError
from moto.sts.responses import TokenResponse

from rehearsal.answers import RehearsalResponse
from rehearsal.aws.iam.access_keys import AccessKey
from rehearsal.client import random_key_id

_SECONDS = 43_200
"""How long a session lasts unless asked otherwise: STS API, GetSessionToken."""


class RehearsalSTS(RehearsalResponse, TokenResponse):  # type: ignore[misc] # moto has no types
    """Bound to a world by `rehearsal.services`."""

    refusal = STSClientError

    def get_session_token(self) -> Any:
        keys = self.world.keys
        key = AccessKey(
            random_key_id("ASIA"),
            secrets.token_urlsafe(30),
            secrets.token_urlsafe(96),
            issued_to=keys.owner(self.access_key),
            until=keys.now() + timedelta(seconds=self._get_int_param("DurationSeconds", _SECONDS)),
        )
        keys.register(key)
        credentials = {
            "AccessKeyId": key.access_key_id,
            "SecretAccessKey": key.secret_access_key,
            "SessionToken": key.session_token,
            "Expiration": key.until,
        }
        return ActionResult({"Credentials": credentials})

    def get_federation_token(self) -> Any:
        raise NotImplementedError("GetFederationToken")
