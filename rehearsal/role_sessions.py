"""The credentials that instances get for their roles: sessions of moto's STS, good for what the role allows.

What they allow is `authorization`'s to say. Here a request that carries them must be signed with them, by the rules of
AWS's signature version 4, the session token included: these credentials are the only ones whose secret a host uses.

Sources: IAM user guide, "Create a signed AWS API request"; AWS common errors (UnrecognizedClientException,
InvalidSignatureException). That the session token has to be among the signed headers is true of the services modelled.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from flask import request
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends
from werkzeug.wrappers import Response

from rehearsal.errors import AwsError
from rehearsal.principals import PARTITION

View = Callable[..., Response]

_LIFETIME = timedelta(hours=6)
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w+)/\d{8}/(?P<region>[\w-]+)/(?P<service>[\w-]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[\w;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True)
class RoleSession:
    """A role's credentials on an instance."""

    access_key: str
    secret: str
    token: str
    until: datetime


class RoleSessions:
    """Every session there is, by its access key. Safe to use from any thread."""

    def __init__(self, now: Callable[[], datetime], account: str) -> None:
        self._now = now
        self._account = account
        self._lock = threading.Lock()
        self._sessions: dict[str, RoleSession] = {}

    def issue(self, instance_id: str, region: str, role: Any) -> dict[str, str]:
        """New credentials, as instance metadata shows them."""
        until = self._now() + _LIFETIME
        made = sts_backends[self._account][PARTITION].assume_role(
            region_name=region,
            role_session_name=instance_id,
            role_arn=role.arn,
            policy=None,
            duration=int(_LIFETIME.total_seconds()),
            external_id=None,
        )
        session = RoleSession(made.access_key_id, made.secret_access_key, made.session_token, until)
        with self._lock:
            self._sessions[session.access_key] = session
        return {
            "Code": "Success",
            "LastUpdated": f"{self._now():%Y-%m-%dT%H:%M:%SZ}",
            "Type": "AWS-HMAC",
            "AccessKeyId": session.access_key,
            "SecretAccessKey": session.secret,
            "Token": session.token,
            "Expiration": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        }

    def find(self, access_key: str) -> RoleSession | None:
        """The session with this access key, if it is one of an instance."""
        with self._lock:
            return self._sessions.get(access_key)

    def trusted(self, view: View) -> View:
        """A view that raises AwsError for a request with an instance's credentials that is not signed with them.

        To be wrapped by `checking.checked`, which answers with the error.
        """

        def view_trusted(*arguments: Any, **named: Any) -> Response:
            self._check(request)
            return view(*arguments, **named)

        return view_trusted

    def _check(self, sent: Any) -> None:
        signed = _AUTHORIZATION.match(sent.headers.get("Authorization", ""))
        session = self.find(signed["key"]) if signed else None
        if signed is None or session is None:
            return
        if self._now() >= session.until or sent.headers.get("X-Amz-Security-Token") != session.token:
            raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")
        if not _is_right(signed, session, sent):
            raise AwsError("InvalidSignatureException", "The request signature we calculated does not match.")


def role_of(instance: Any, account: str) -> Any:
    """The role in an instance's profile, as moto has it; None without one."""
    profile = (instance.iam_instance_profile or {}).get("Arn")
    profiles = iam_backends[account][PARTITION].instance_profiles.values()
    return next((role for one in profiles if one.arn == profile for role in one.roles), None) if profile else None


def _is_right(signed: re.Match[str], session: RoleSession, sent: Any) -> bool:
    """Whether the signature is the one that the session's key makes of the request."""
    names = signed["headers"].split(";")
    if not {"host", "x-amz-date", "x-amz-security-token"} <= set(names):
        return False
    again = AWSRequest(
        method=sent.method,
        url=sent.url,
        data=sent.get_data(),
        headers={name: sent.headers.get(name, "") for name in names},
    )
    again.context["timestamp"] = sent.headers.get("X-Amz-Date", "")
    auth = SigV4Auth(Credentials(signed["key"], session.secret), signed["service"], signed["region"])
    to_sign = auth.string_to_sign(again, auth.canonical_request(again))
    return secrets.compare_digest(auth.signature(to_sign, again), signed["signature"])
