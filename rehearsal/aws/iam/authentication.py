"""Authentication of requests: none from web pages, none under another host name, none without a valid signature.

A rehearsal runs commands as root on its hosts, so it must be protected as AWS is. The first check applies to every
request and keeps browsers out: they send the page's origin and the host name (DNS rebinding). The second applies to
requests to AWS's services.

Sources
-------
- `Origin` and `Sec-Fetch-Site`: Fetch standard; Fetch Metadata Request Headers (W3C).
- Errors for an unknown key and for a wrong or missing signature: EC2 API, "Error codes" (AuthFailure); "Common Errors"
  of the IAM and SSM APIs (InvalidClientTokenId, MissingAuthenticationToken); S3 API, "Error responses"
  (InvalidAccessKeyId, SignatureDoesNotMatch). JSON services return UnrecognizedClientException and
  InvalidSignatureException, as listed in DynamoDB's "Error handling". The texts are those that clients report.
- Not modelled: that STS accepts AssumeRoleWithWebIdentity and AssumeRoleWithSAML without a signature. moto verifies
  neither token, so anybody would get a key.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from flask import request
from moto.core.request import determine_request_protocol
from moto.core.utils import get_service_model, service_name_from_moto_package_name
from werkzeug.wrappers import Response

from rehearsal.aws.iam import signatures
from rehearsal.aws.iam.access_keys import AccessKeys
from rehearsal.calls import operation_of
from rehearsal.conformance.models import operation_model
from rehearsal.conformance.refusals import refused
from rehearsal.errors import AwsError

_SAME_SITE = ("none", "same-origin")
_NO_TOKEN = "Request is missing Authentication Token"
_UNKNOWN = "The security token included in the request is invalid."
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_EC2 = "AWS was not able to validate the provided access credentials"


def why_foreign(environ: Mapping[str, Any], addresses: Collection[str]) -> str:
    """Why a WSGI request may come from a web page, or was not sent to one of `addresses` (host:port); "" if neither."""
    host, origin = str(environ.get("HTTP_HOST", "")).lower(), environ.get("HTTP_ORIGIN")
    if host not in addresses:
        return f"Host is {host!r}, and this is {sorted(addresses)[0]}"
    if origin is not None and origin not in {f"http://{address}" for address in addresses}:
        return f"Origin is {origin!r}: web pages may not use a rehearsal"
    if (site := environ.get("HTTP_SEC_FETCH_SITE", "none")) not in _SAME_SITE:
        return f"Sec-Fetch-Site is {site!r}: web pages may not use a rehearsal"
    return ""


def has_token(environ: Mapping[str, Any], token: str) -> bool:
    """Whether a WSGI request to the control API has the token."""
    given = str(environ.get("HTTP_AUTHORIZATION", ""))
    return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def refusal(keys: AccessKeys, service: str) -> Response | None:
    """The error response to the current Flask request, whose body has been read; None when its signature is valid.

    `service`: moto's name for it.
    """
    try:
        errors = _errors_of(service)
    except Exception:  # moto raises various errors for an unknown service or protocol
        return Response("Not a request to AWS", status=403)
    error = _error(keys, errors)
    if error is None:
        return None
    # moto assigns requests of unknown services to S3, whatever operation they name.
    operation = operation_of(service, request)
    return refused(service, operation if operation_model(service, operation) else "", error)


def _error(keys: AccessKeys, errors: _Errors) -> AwsError | None:
    try:
        signature = signatures.read(request)
    except signatures.SignatureError as error:
        return AwsError(errors.malformed, str(error), errors.status)
    if signature is None:
        return errors.unsigned
    key = keys.find(signature.access_key_id)
    if key is None or not hmac.compare_digest(key.session_token.encode(), signature.session_token.encode()):
        return errors.unknown
    if not signatures.is_valid(key.secret_access_key, signature, request):
        return errors.mismatch
    return None


@dataclass(frozen=True)
class _Errors:
    """A protocol's errors for a missing signature, an unknown key, a wrong signature and a malformed one."""

    unsigned: AwsError
    unknown: AwsError
    mismatch: AwsError
    malformed: str = "IncompleteSignature"
    status: int = 400


def _errors_of(service: str) -> _Errors:
    model = get_service_model(service_name_from_moto_package_name(service))
    protocol = determine_request_protocol(model, request.content_type)
    if service == "ec2":
        failure = AwsError("AuthFailure", _EC2, 401)
        return _Errors(failure, failure, failure, "AuthFailure", 401)
    if service == "s3":
        unknown = "The AWS Access Key Id you provided does not exist in our records."
        return _Errors(
            AwsError("AccessDenied", "Access Denied", 403),
            AwsError("InvalidAccessKeyId", unknown, 403),
            AwsError("SignatureDoesNotMatch", _MISMATCH, 403),
            "AuthorizationHeaderMalformed",
        )
    if protocol == "query":
        return _Errors(
            AwsError("MissingAuthenticationToken", _NO_TOKEN, 403),
            AwsError("InvalidClientTokenId", _UNKNOWN, 403),
            AwsError("SignatureDoesNotMatch", _MISMATCH, 403),
        )
    status = 400 if protocol == "json" else 403
    return _Errors(
        AwsError("MissingAuthenticationTokenException", _NO_TOKEN, status),
        AwsError("UnrecognizedClientException", _UNKNOWN, status),
        AwsError("InvalidSignatureException", _MISMATCH, status),
        "IncompleteSignatureException",
    )
