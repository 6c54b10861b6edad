"""IAM and STS as the rehearsal serves them: moto's, with managed policies loaded lazily and real session tokens."""

from __future__ import annotations

import functools
import json
import secrets
from datetime import timedelta
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.exceptions import IAMException
from moto.iam.models import AWSManagedPolicy
from moto.iam.responses import IamResponse
from moto.sts.exceptions import STSClientError
from moto.sts.responses import TokenResponse

from rehearsal.answers import RehearsalResponse
from rehearsal.aws.iam.access_keys import AccessKey
from rehearsal.client import random_key_id

_DEFAULT_SESSION_SECONDS = 43_200
"""Source: STS API, GetSessionToken."""


class RehearsalIAM(RehearsalResponse, IamResponse):  # type: ignore[misc] # moto has no types
    """Loads Amazon's managed policies on the first request.

    When moto loads them, it builds all 1,500 again for each partition and new backend: seconds after every reset.
    """

    refusal = IAMException

    def call_action(self) -> Any:
        backend = self.backend
        if not backend.aws_managed_policies:
            backend.aws_managed_policies = [
                AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, data)
                for name, data in _managed_policies().items()
            ]
            backend.managed_policies.update({policy.arn: policy for policy in backend.aws_managed_policies})
        return super().call_action()


class RehearsalSTS(RehearsalResponse, TokenResponse):  # type: ignore[misc] # moto has no types
    """Issues real keys for GetSessionToken, for which moto returns the same key to everybody.

    GetFederationToken has the same defect in moto; no client needs it, so it is refused.
    """

    refusal = STSClientError

    def get_session_token(self) -> Any:
        keys = self.world.keys
        key = AccessKey(
            random_key_id("ASIA"),
            secrets.token_urlsafe(30),
            secrets.token_urlsafe(96),
            issued_to=keys.owner(self.access_key),
            expires=keys.now() + timedelta(seconds=self._get_int_param("DurationSeconds", _DEFAULT_SESSION_SECONDS)),
        )
        keys.register(key)
        credentials = {
            "AccessKeyId": key.access_key_id,
            "SecretAccessKey": key.secret_access_key,
            "SessionToken": key.session_token,
            "Expiration": key.expires,
        }
        return ActionResult({"Credentials": credentials})

    def get_federation_token(self) -> Any:
        raise NotImplementedError("GetFederationToken")


@functools.cache
def _managed_policies() -> dict[str, Any]:
    return dict(json.loads(aws_managed_policies_data))
