"""Who may ask: no web page, nobody who came by another name, and nobody without a key.

A rehearsal runs commands as root on this machine's hosts, so what protects AWS has to protect it. The first check is of
every request, whoever it is for, and keeps browsers out: they say where a page is from, and what name led here (DNS
rebinding). The second is of requests to AWS's services.

Sources
-------
- `Origin` and `Sec-Fetch-Site`: Fetch standard; Fetch Metadata Request Headers (W3C).
- An unknown key, and a wrong or missing signature: EC2 API, "Error codes" (AuthFailure); "Common Errors" of the IAM and
  SSM APIs (InvalidClientTokenId, MissingAuthenticationToken); S3 API, "Error responses" (InvalidAccessKeyId,
  SignatureDoesNotMatch). AWS's services in JSON answer UnrecognizedClientException and InvalidSignatureException, as
  DynamoDB's "Error handling" lists them. The texts are those that clients report.
- That STS takes AssumeRoleWithWebIdentity and AssumeRoleWithSAML without a signature is not modelled: moto checks
  neither token, and would give a key to anybody.
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

_OWN_SITE = ("none", "same-origin")
_NO_TOKEN = "Request is missing Authentication Token"
_UNKNOWN = "The security token included in the request is invalid."
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_EC2 = "AWS was not able to validate the provided access credentials"


def why_foreign(environ: Mapping[str, Any], addresses: Collection[str]) -> str:
    """Why a WSGI request may be a web page's, or came by another name than the rehearsal's `addresses` (host:port).

    "" for one that neither goes for.
    """
    host, origin = str(environ.get("HTTP_HOST", "")).lower(), environ.get("HTTP_ORIGIN")
    if host not in addresses:
        return f"Host is {host!r}, and this is {sorted(addresses)[0]}"
    if origin is not None and origin not in {f"http://{address}" for address in addresses}:
        return f"Origin is {origin!r}: web pages may not use a rehearsal"
    if (site := environ.get("HTTP_SEC_FETCH_SITE", "none")) not in _OWN_SITE:
        return f"Sec-Fetch-Site is {site!r}: web pages may not use a rehearsal"
    return ""


def has_token(environ: Mapping[str, Any], token: str) -> bool:
    """Whether a WSGI request to the control API carries the token."""
    given = str(environ.get("HTTP_AUTHORIZATION", ""))
    return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def refusal(keys: AccessKeys, service: str) -> Response | None:
    """The answer to the Flask request there is now when nobody who is known has signed it; else None.

    Its body has been read. `service`: moto's name for it.
    """
    try:
        errors = _errors_of(service)
    except Exception:  # moto's own raise whatever they meet, for what is no service of AWS's or not in its protocol
        return Response("This is no request to AWS", status=403)
    error = _error(keys, errors)
    if error is None:
        return None
    # A request that moto could not place is S3's to it, whatever operation it names.
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
    if not signatures.is_made_with(key.secret_access_key, signature, request):
        return errors.mismatch
    return None


@dataclass(frozen=True)
class _Errors:
    """A protocol's: for a request without a signature, of an unknown key, with a wrong one, with one of no form."""

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
