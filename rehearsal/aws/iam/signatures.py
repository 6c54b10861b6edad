"""Verification of AWS Signature Version 4, in the `Authorization` header or in the query of a presigned URL.

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
    """The signature of a request is malformed."""


@dataclass(frozen=True)
class Signature:
    """The signature of a request. `scope`: the credential scope. `headers`: names of the signed headers."""

    access_key_id: str
    scope: str
    date: str
    headers: tuple[str, ...]
    value: str
    session_token: str
    in_query: bool = False

    @property
    def region(self) -> str:
        return self.scope.split("/")[1]

    @property
    def service(self) -> str:
        """The service's signing name."""
        return self.scope.split("/")[2]


def read(request: Any) -> Signature | None:
    """The signature of a werkzeug request; None when it has none. SignatureError when it is malformed."""
    authorization = request.headers.get("Authorization", "")
    if authorization.startswith(ALGORITHM):
        parts = [part.strip().partition("=") for part in authorization[len(ALGORITHM) :].split(",")]
        fields = {f"X-Amz-{name}": value for name, _, value in parts}
        if len(fields) < len(parts):
            raise SignatureError("Authorization has a duplicate component")
        for name in ("X-Amz-Date", "X-Amz-Security-Token"):
            fields[name] = request.headers.get(name, "")
        return _parse(fields, in_query=False)
    if authorization:
        raise SignatureError(f"Authorization is not {ALGORITHM}")
    if "X-Amz-Signature" in request.args:
        return _parse(request.args, in_query=True)
    return None


def _parse(fields: Any, *, in_query: bool) -> Signature:
    access_key_id, _, scope = fields.get("X-Amz-Credential", "").partition("/")
    date = fields.get("X-Amz-Date", "")
    names, token, value = (fields.get(f"X-Amz-{name}", "") for name in ("SignedHeaders", "Security-Token", "Signature"))
    headers = tuple(filter(None, names.split(";")))
    scope_match = _SCOPE.fullmatch(scope)
    if not _KEY_ID.fullmatch(access_key_id) or scope_match is None:
        raise SignatureError("Credential must be ID/DATE/REGION/SERVICE/aws4_request")
    if not _HEADERS.fullmatch(names) or not _SHA256.fullmatch(value):
        raise SignatureError("SignedHeaders must be lower-case names, Signature a SHA-256 digest")
    if not date.startswith(scope_match["date"]):
        raise SignatureError("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of X-Amz-Date")
    if "host" not in headers:
        raise SignatureError("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    return Signature(access_key_id, scope, date, headers, value, token, in_query)


def is_valid(secret_access_key: str, signature: Signature, request: Any) -> bool:
    """Whether the request, whose body has been read, was signed with this secret."""
    key = f"AWS4{secret_access_key}".encode()
    for part in signature.scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    canonical = hashlib.sha256(_canonical_request(signature, request).encode("latin-1")).hexdigest()
    signed = "\n".join((ALGORITHM, signature.date, signature.scope, canonical))
    expected = hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.value.encode())


def _canonical_request(signature: Signature, request: Any) -> str:
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
    """The digest of the body, or the keyword for a body that is unsigned or signed in chunks."""
    declared = str(request.headers.get("X-Amz-Content-Sha256", ""))
    if signature.in_query:
        return declared or "UNSIGNED-PAYLOAD"
    if declared and not _SHA256.fullmatch(declared):
        return declared
    return hashlib.sha256(request.get_data()).hexdigest()
