"""Signatures for requests that botocore's clients would not send."""

from collections.abc import Mapping

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def signed(
    keys: Credentials,
    service: str,
    url: str,
    body: str = "",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    region: str = "sa-east-1",
) -> dict[str, str]:
    """The headers of a request with those of its signature; for S3 without a signature of the body."""
    request = AWSRequest(method, url, dict(headers or {}), body.encode())
    if service == "s3":
        request.context["client_config"] = None
        request.context["payload_signing_enabled"] = False
        request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    auth = S3SigV4Auth if service == "s3" else SigV4Auth
    auth(keys, service, region).add_auth(request)
    return dict(request.headers.items())


def keys_of(access) -> Credentials:
    return Credentials(access.access_key_id, access.secret_access_key)
