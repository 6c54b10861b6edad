"""The EC2 instance metadata service of hosts, 169.254.169.254: tokens, placement, credentials of the instance's role.

Sources: EC2 user guide, "Use the Instance Metadata Service", "Retrieve security credentials from instance metadata",
"Instance identity documents". Paths that are not here are not modelled and return 404.
A token is always required (HttpTokens=required), as this project launches instances: accepting requests without one
would hide a client's mistake.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from moto.ec2.models import ec2_backends
from moto.sts.models import sts_backends

from rehearsal.aws.iam.access_keys import AccessKey, AccessKeys
from rehearsal.aws.iam.principals import PARTITION, instance_role
from rehearsal.hosts.aws_sites import SiteAnswer, SiteRequest

TOKEN_PATH = "/latest/api/token"
_TTL_HEADER, _TOKEN_HEADER = "x-aws-ec2-metadata-token-ttl-seconds", "x-aws-ec2-metadata-token"
_MAX_TTL_SECONDS = 21_600
_CREDENTIALS = "/latest/meta-data/iam/security-credentials/"
_CREDENTIALS_LIFETIME = timedelta(hours=6)


class Metadata:
    """The metadata service of every instance. Thread-safe."""

    def __init__(self, keys: AccessKeys, account: str) -> None:
        self._keys = keys
        self._account = account
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[str, float]] = {}

    def answer(self, instance_id: str, region: str, request: SiteRequest) -> SiteAnswer:
        if request.path == TOKEN_PATH:
            return self._issue_token(instance_id, request)
        if request.method not in ("GET", "HEAD"):
            return _text("", 405)
        if not self._is_valid(instance_id, request.headers.get(_TOKEN_HEADER, "")):
            return _text("", 401)
        instances = ec2_backends[self._account][region].all_instances()
        instance = next((instance for instance in instances if instance.id == instance_id), None)
        content = self._paths(instance, region).get(request.path) if instance is not None else None
        return _text(content()) if content else _text("", 404)

    def _issue_token(self, instance_id: str, request: SiteRequest) -> SiteAnswer:
        if request.method != "PUT":
            return _text("", 405)
        if "x-forwarded-for" in request.headers:
            return _text("", 403)
        ttl = request.headers.get(_TTL_HEADER, "")
        if not ttl.isdecimal() or not 1 <= int(ttl) <= _MAX_TTL_SECONDS:
            return _text("", 400)
        token = secrets.token_urlsafe(40)
        with self._lock:
            self._tokens[token] = (instance_id, time.monotonic() + int(ttl))
        return SiteAnswer(200, {"Content-Type": "text/plain", _TTL_HEADER: ttl}, token.encode())

    def _is_valid(self, instance_id: str, token: str) -> bool:
        with self._lock:
            owner, end = self._tokens.get(token, ("", 0.0))
        return owner == instance_id and time.monotonic() < end

    def _paths(self, instance: Any, region: str) -> Mapping[str, Callable[[], str]]:
        zone = instance.placement
        document = {
            "accountId": self._account,
            "availabilityZone": zone,
            "imageId": instance.image_id,
            "instanceId": instance.id,
            "instanceType": instance.instance_type,
            "privateIp": instance.private_ip,
            "region": region,
            "version": "2017-09-30",
        }
        paths: dict[str, Callable[[], str]] = {
            "/latest/dynamic/instance-identity/document": lambda: json.dumps(document),
            "/latest/meta-data/instance-id": lambda: str(instance.id),
            "/latest/meta-data/placement/availability-zone": lambda: str(zone),
            "/latest/meta-data/placement/region": lambda: region,
        }
        if role := instance_role(instance, self._account):
            paths[_CREDENTIALS] = lambda: str(role.name)
            paths[f"{_CREDENTIALS}{role.name}"] = lambda: json.dumps(self._issue_credentials(instance.id, region, role))
        return paths

    def _issue_credentials(self, instance_id: str, region: str, role: Any) -> dict[str, str]:
        """Credentials of a new role session in moto's STS; `authorization` applies the role's policies."""
        now = self._keys.now()
        session = sts_backends[self._account][PARTITION].assume_role(
            region_name=region,
            role_session_name=instance_id,
            role_arn=role.arn,
            policy=None,
            duration=int(_CREDENTIALS_LIFETIME.total_seconds()),
            external_id=None,
        )
        expires = now + _CREDENTIALS_LIFETIME
        key = AccessKey(session.access_key_id, session.secret_access_key, session.session_token, expires=expires)
        self._keys.register(key)
        return {
            "Code": "Success",
            "LastUpdated": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "Type": "AWS-HMAC",
            "AccessKeyId": key.access_key_id,
            "SecretAccessKey": key.secret_access_key,
            "Token": key.session_token,
            "Expiration": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
        }


def _text(text: str, status: int = 200) -> SiteAnswer:
    return SiteAnswer(status, {"Content-Type": "text/plain"}, text.encode())
