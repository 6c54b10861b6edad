"""AWS Signature Version 4, in the `Authorization` header and in the query of presigned URLs.

Source: IAM user guide, "AWS Signature Version 4 for API requests" (create a signed request); S3 API reference,
"Authenticating Requests (AWS Signature Version 4)", for S3's paths and `x-amz-content-sha256`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = "AWS4-HMAC-SHA256"
_SCOPE = re.compile(r"(?P<date>\d{8})/[^/\s]+/(?P<service>[^/\s]+)/aws4_request")
_KEY_ID = re.compile(r"[A-Z0-9]{16,128}")
_HEADERS = re.compile(r"[a-z0-9_;-]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNRESERVED = "-_.~"


class SignatureError(Exception):
    """A request claims to be signed, but not in a form that there is; the message says what is wrong."""


@dataclass(frozen=True)
class Signature:
    """What a request says of its signature. `instant` is its X-Amz-Date, `scope` its credential scope."""

    access_key_id: str
    scope: str
    instant: str
    headers: tuple[str, ...]
    value: str
    session_token: str
    in_query: bool = False

    @property
    def region(self) -> str:
        return self.scope.split("/")[1]

    @property
    def service(self) -> str:
        """The service by its signing name."""
        return self.scope.split("/")[2]


def read(request: Any) -> Signature | None:
    """The signature of a werkzeug request; None for one that has none. SignatureError for one that can't be read."""
    authorization = request.headers.get("Authorization", "")
    if authorization.startswith(ALGORITHM):
        parts = [part.strip().partition("=") for part in authorization[len(ALGORITHM) :].split(",")]
        given = {f"X-Amz-{name}": value for name, _, value in parts}
        if len(given) < len(parts):
            raise SignatureError("Authorization names a part twice")
        for name in ("X-Amz-Date", "X-Amz-Security-Token"):
            given[name] = request.headers.get(name, "")
        return _checked(given, in_query=False)
    if authorization:
        raise SignatureError(f"Authorization is not {ALGORITHM}")
    if "X-Amz-Signature" in request.args:
        return _checked(request.args, in_query=True)
    return None


def _checked(given: Any, *, in_query: bool) -> Signature:
    access_key_id, _, scope = given.get("X-Amz-Credential", "").partition("/")
    instant = given.get("X-Amz-Date", "")
    names, token, value = (given.get(f"X-Amz-{name}", "") for name in ("SignedHeaders", "Security-Token", "Signature"))
    headers = tuple(filter(None, names.split(";")))
    found = _SCOPE.fullmatch(scope)
    if not _KEY_ID.fullmatch(access_key_id) or found is None:
        raise SignatureError("Credential must be ID/DATE/REGION/SERVICE/aws4_request")
    if not _HEADERS.fullmatch(names) or not _SHA256.fullmatch(value):
        raise SignatureError("SignedHeaders must be names in lower case, Signature a SHA-256 sum")
    if not instant.startswith(found["date"]):
        raise SignatureError("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of X-Amz-Date")
    if "host" not in headers:
        raise SignatureError("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    return Signature(access_key_id, scope, instant, headers, value, token, in_query)


def is_made_with(secret_access_key: str, signature: Signature, request: Any) -> bool:
    """Whether the request, whose body has been read, was signed so by one who has the key's secret."""
    key = f"AWS4{secret_access_key}".encode()
    for part in signature.scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    canonical = hashlib.sha256(_canonical(signature, request).encode("latin-1")).hexdigest()
    signed = "\n".join((ALGORITHM, signature.instant, signature.scope, canonical))
    expected = hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.value.encode())


def _canonical(signature: Signature, request: Any) -> str:
    headers = [f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signature.headers]
    path = request.raw_path
    if not signature.service.startswith("s3"):
        path = quote(path, safe=f"/{_UNRESERVED}")
    query = request.query_string.decode("latin-1").split("&")
    pairs = sorted(_encoded(pair) for pair in query if pair and not pair.startswith("X-Amz-Signature="))
    return "\n".join(
        (
            request.method,
            path,
            "&".join(f"{name}={value}" for name, value in pairs),
            "".join(headers),
            ";".join(signature.headers),
            _payload(signature, request),
        )
    )


def _encoded(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    first, second = (quote(unquote_to_bytes(part), safe=_UNRESERVED) for part in (name, value))
    return first, second


def _payload(signature: Signature, request: Any) -> str:
    """The body's sum, or the word that stands for a body that is not signed or signed in parts."""
    declared = str(request.headers.get("X-Amz-Content-Sha256", ""))
    if signature.in_query:
        return declared or "UNSIGNED-PAYLOAD"
    if declared and not _SHA256.fullmatch(declared):
        return declared
    return hashlib.sha256(request.get_data()).hexdigest()
