"""Refuses requests whose signature is too old or in the future, as AWS does for a client with a wrong clock.

The signature's date is compared with this machine's time, by which clients sign, and not with the rehearsal's clock.

Sources
-------
- EC2, 15 minutes, RequestExpired: EC2 API reference, "Error codes".
- S3, 15 minutes, RequestTimeTooSkewed, status 403: S3 API reference, "Error responses".
- The others, 5 minutes: IAM user guide, "Troubleshoot Signature Version 4": SignatureDoesNotMatch for the Query API,
  InvalidSignatureException for JSON, and the texts "Signature expired" and "Signature not yet current".
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from flask import request
from werkzeug.wrappers import Response

from rehearsal.calls import operation_of
from rehearsal.conformance.models import operation_model
from rehearsal.conformance.refusals import refused
from rehearsal.errors import AwsError

_FORMAT = "%Y%m%dT%H%M%SZ"
_MAX_SKEW, _MAX_SKEW_EC2_S3 = timedelta(minutes=5), timedelta(minutes=15)
_QUERY_SERVICES = ("iam", "sts")


def stale_answer(service: str) -> Response | None:
    """AWS's error response to the current request when its signature's date is too far off; else None."""
    signed = request.headers.get("X-Amz-Date", "")
    try:
        date = datetime.strptime(signed, _FORMAT).replace(tzinfo=timezone.utc)
    except ValueError:  # not signed, or a presigned URL, which has its own expiry
        return None
    error = refusal(service, date, datetime.now(timezone.utc))
    operation = operation_of(service, request)
    return refused(service, operation if operation_model(service, operation) else "", error) if error else None


def refusal(service: str, date: datetime, now: datetime) -> AwsError | None:
    """The service's error at `now` for a request that was signed at `date`; None when the difference is allowed."""
    max_skew = _MAX_SKEW_EC2_S3 if service in ("ec2", "s3") else _MAX_SKEW
    if abs(now - date) <= max_skew:
        return None
    if service == "ec2":
        return AwsError("RequestExpired", "Request has expired.", 400)
    if service == "s3":
        return AwsError(
            "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", 403
        )
    if date < now:
        limit = f"{now - max_skew:{_FORMAT}} ({now:{_FORMAT}} - 5 min.)"
        text = f"Signature expired: {date:{_FORMAT}} is now earlier than {limit}"
    else:
        limit = f"{now + max_skew:{_FORMAT}} ({now:{_FORMAT}} + 5 min.)"
        text = f"Signature not yet current: {date:{_FORMAT}} is still later than {limit}"
    if service in _QUERY_SERVICES:
        return AwsError("SignatureDoesNotMatch", text, 403)
    return AwsError("InvalidSignatureException", text, 400)
