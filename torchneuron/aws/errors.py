"""Translates what botocore raises into the errors of `torchneuron.core.errors`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidConfigError,
    InvalidProxiesConfigError,
    InvalidRetryConfigurationError,
    LoginError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    RefreshWithMFAUnsupportedError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
    UnknownTokenProviderError,
)
from botocore.parsers import ResponseParserError

from torchneuron.core.errors import AccessError, AwsError, ClockError, InputError, UnreachableError

SEARCH_LIMIT = "CapacityBlockDescribeLimitExceeded"
"""EC2's code for throttled Capacity Block searches. botocore does not know that it may be retried."""
_SET_THE_CLOCK = "Set the clock (sudo timedatectl set-ntp true; on a Mac: sudo sntp -sS time.apple.com)"
_CLOCK_TOLERANCE = timedelta(minutes=4)
"""Below what any service accepts: 5 minutes, EC2 and S3 15 (IAM user guide, "Troubleshoot Signature Version 4")."""


def is_about_sign_in(error: AwsError) -> bool:
    """Whether every other call would fail as well: missing, invalid or expired credentials, or a wrong clock."""
    return isinstance(error, ClockError) or (
        isinstance(error, AccessError) and (not error.code or error.code in _EXPIRED)
    )


def is_denied(error: AwsError) -> bool:
    """Whether the credentials work and a permission is missing."""
    return error.code in _DENIED


def may_pass(error: AwsError) -> bool:
    """Whether the same call may succeed later: AWS did not respond, or throttled it."""
    return isinstance(error, UnreachableError) or error.code in _THROTTLED


# botocore raises these before it sends anything.
_NO_CREDENTIALS = (
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    RefreshWithMFAUnsupportedError,
)
_SIGN_IN_ENDED = (LoginError, SSOError, TokenRetrievalError)
_MISCONFIGURED = (
    ConfigNotFound,
    ConfigParseError,
    InvalidConfigError,
    InvalidProxiesConfigError,
    InvalidRetryConfigurationError,
    NoRegionError,
    ProfileNotFound,
    UnknownCredentialError,
    UnknownTokenProviderError,
)


@contextmanager
def calling(doing: str) -> Iterator[None]:
    """Translate what botocore raises in the block. `doing` completes "Could not …".

    Raises AccessError (credentials, permissions), ClockError (this machine's clock), InputError (AWS configuration on
    this machine), UnreachableError (no response) or AwsError (any other error, with AWS's code).
    """
    try:
        yield
    except ClientError as error:
        raise _refusal(error, doing) from error
    except _NO_CREDENTIALS as error:
        raise AccessError(
            f"Could not {doing}: no usable AWS credentials on this machine.",
            why=str(error),
            do="Sign in (aws sso login, aws configure) or set AWS_PROFILE, then run the command again.",
        ) from error
    except _SIGN_IN_ENDED as error:
        raise AccessError(
            f"Could not {doing}: the AWS sign-in has expired.",
            why=str(error),
            do="Sign in again (aws sso login, aws login), then run the command again.",
        ) from error
    except _MISCONFIGURED as error:
        raise InputError(
            f"Could not {doing}: the AWS configuration is not usable.",
            why=str(error),
            do="Check the AWS_… environment variables and ~/.aws/config (aws configure list).",
        ) from error
    except (ConnectionError, HTTPClientError, ResponseParserError) as error:
        raise UnreachableError(
            f"Could not {doing}: no response from AWS.", why=str(error), do="Check the network and try again."
        ) from error
    except BotoCoreError as error:
        raise AwsError(f"Could not {doing}.", why=str(error)) from error


@contextmanager
def reading(doing: str) -> Iterator[None]:
    """`calling` for a block that also parses the response. Raises AwsError where the response lacks a field, or has an
    unexpected value. An AttributeError is not translated: it is a bug of ours.
    """
    try:
        with calling(doing):
            yield
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise AwsError(f"Could not {doing}: unexpected response from AWS.", why=repr(error), do="Try again.") from error


def utc(time: datetime) -> datetime:
    """A time of a response in UTC. Raises TypeError for a value that is not a time."""
    if not isinstance(time, datetime):
        raise TypeError(f"{time!r} is not a time")
    return time.astimezone(timezone.utc)


# The common errors of the EC2, SSM, S3, STS and Secrets Manager API references: services use different codes for the
# same error. A region that is not enabled also answers with one of the second set.
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_BAD_CREDENTIALS = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "OptInRequired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
# Codes for a request whose date is too far off. SigV4 uses its two for wrong keys as well, hence the texts.
_SKEWED = {"RequestExpired", "RequestTimeTooSkewed"}
_SKEWED_SIGNATURE = re.compile(r"Signature expired|Signature not yet current")
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
# Some come with a 5xx status, but nothing took effect.
_THROTTLED = {"RequestLimitExceeded", "Throttling", "ThrottlingException"}
_SERVER = {"InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "Unavailable"}


def _refusal(error: ClientError, doing: str) -> AwsError:
    # botocore returns None for an empty element.
    code = error.response.get("Error", {}).get("Code") or ""
    message = error.response.get("Error", {}).get("Message") or ""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    offset = clock_offset(error.response)
    is_skewed = abs(offset) > _CLOCK_TOLERANCE
    if is_skewed and (code in _SKEWED or _SKEWED_SIGNATURE.search(message)):
        return ClockError(
            f"Could not {doing}: this machine's clock is {_skew_text(offset)}.",
            code=code,
            why=f"AWS refuses requests whose date is more than 5 minutes off ({code}: {message})",
            do=f"{_SET_THE_CLOCK}, then run the same command again.",
        )
    if code in _EXPIRED:
        return AccessError(
            f"Could not {doing}: the AWS credentials have expired.",
            code=code,
            why=message,
            do="Sign in again, then run the same command to resume.",
        )
    if code in _BAD_CREDENTIALS:
        return AccessError(
            f"Could not {doing}: AWS does not accept these credentials here.",
            code=code,
            why=message,
            do="Check AWS_PROFILE, or the access key in use (aws sts get-caller-identity). If they work elsewhere, the"
            " account has not enabled this region: aws account enable-region --region-name REGION."
            + (f"\nThis machine's clock is {_skew_text(offset)}, a possible cause. {_SET_THE_CLOCK}." * is_skewed),
        )
    if code in _DENIED:
        return AccessError(
            f"Could not {doing}: the permission {_missing_action(code, message, error.operation_name)} is missing.",
            code=code,
            why=message,
            do="Ask for it to be added to the role or user that runs this command."
            " All that a command needs is in: invoke doctor --policy COMMAND",
        )
    if code in _THROTTLED:
        return AwsError(
            f"Could not {doing}: AWS throttles requests of this kind.",
            code=code,
            why=f"{code}: {message}",
            do="Wait a minute, then run the same command again.",
        )
    if code in _SERVER or status >= 500:
        return UnreachableError(f"Could not {doing}: AWS reported an internal error.", code=code, why=message)
    return AwsError(f"Could not {doing}.", code=code, why=f"{code}: {message}")


def clock_offset(answer: Mapping[str, Any]) -> timedelta:
    """How far this machine's clock is ahead of AWS's, by a response's `Date` header; zero without one."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return datetime.now(timezone.utc) - utc(parsedate_to_datetime(date))
    except (TypeError, ValueError):
        return timedelta(0)


def _skew_text(offset: timedelta) -> str:
    minutes = round(abs(offset) / timedelta(minutes=1))
    return f"{minutes} minutes {'fast' if offset > timedelta(0) else 'slow'}"


def _missing_action(code: str, message: str, operation: str) -> str:
    """The IAM action that AWS's message names, else the operation that was called."""
    named = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
    if named:
        return named.group(1)
    # Only EC2 has messages without the action; it has a code of its own for them.
    return f"ec2:{operation}" if code == "UnauthorizedOperation" else operation


def aws_time(answer: Mapping[str, Any]) -> datetime:
    """The time of a response by AWS's clock: this machine's may be wrong, and blocks end on the minute."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return utc(parsedate_to_datetime(date))
    except ValueError:
        return datetime.now(timezone.utc)
