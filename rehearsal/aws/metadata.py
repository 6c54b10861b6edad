"""Instance metadata, as a host asks for it at 169.254.169.254: tokens, its place, the credentials of its role.

Sources: EC2 user guide, "Use the Instance Metadata Service", "Retrieve security credentials from instance metadata",
"Instance identity documents". What is modelled is what is here; any other path is 404, as AWS says of one it lacks.
A token is always required, as with HttpTokens=required, which is how this project launches: a rehearsal that took
requests without one would hide a client's mistake.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from moto.ec2.models import ec2_backends

from rehearsal.aws.iam.access_keys import AccessKeys
from rehearsal.aws.iam.role_sessions import issue, role_of
from rehearsal.hosts.aws_sites import SiteAnswer, SiteRequest

TOKEN_PATH = "/latest/api/token"
_TTL, _TOKEN = "x-aws-ec2-metadata-token-ttl-seconds", "x-aws-ec2-metadata-token"
_LONGEST = 21_600
_CREDENTIALS = "/latest/meta-data/iam/security-credentials/"


class Metadata:
    """The metadata service of every instance. Safe to use from any thread."""

    def __init__(self, keys: AccessKeys, account: str) -> None:
        self._keys = keys
        self._account = account
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[str, float]] = {}

    def answer(self, instance_id: str, region: str, request: SiteRequest) -> SiteAnswer:
        if request.path == TOKEN_PATH:
            return self._give_token(instance_id, request)
        if request.method not in ("GET", "HEAD"):
            return _text("", 405)
        if not self._is_valid(instance_id, request.headers.get(_TOKEN, "")):
            return _text("", 401)
        instance = _instance(self._account, region, instance_id)
        found = self._paths(instance, region).get(request.path) if instance is not None else None
        return _text(found()) if found else _text("", 404)

    def _give_token(self, instance_id: str, request: SiteRequest) -> SiteAnswer:
        if request.method != "PUT":
            return _text("", 405)
        if "x-forwarded-for" in request.headers:
            return _text("", 403)
        ttl = request.headers.get(_TTL, "")
        if not ttl.isdecimal() or not 1 <= int(ttl) <= _LONGEST:
            return _text("", 400)
        token = secrets.token_urlsafe(40)
        with self._lock:
            self._tokens[token] = (instance_id, time.monotonic() + int(ttl))
        return SiteAnswer(200, {"Content-Type": "text/plain", _TTL: ttl}, token.encode())

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
        if role := role_of(instance, self._account):
            paths[_CREDENTIALS] = lambda: str(role.name)
            paths[f"{_CREDENTIALS}{role.name}"] = lambda: json.dumps(
                issue(self._keys, self._account, instance.id, region, role)
            )
        return paths


def _instance(account: str, region: str, instance_id: str) -> Any:
    found = [one for one in ec2_backends[account][region].all_instances() if one.id == instance_id]
    return found[0] if found else None


def _text(text: str, status: int = 200) -> SiteAnswer:
    return SiteAnswer(status, {"Content-Type": "text/plain"}, text.encode())
