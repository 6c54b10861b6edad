"""What AWS's errors are called here, decided in one place: whatever botocore raises becomes one of `errors`."""

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
"""EC2's code for searches of Capacity Blocks that come too fast, which botocore takes for an ordinary refusal."""
_SET_THE_CLOCK = "Set the clock (sudo timedatectl set-ntp true; on a Mac: sudo sntp -sS time.apple.com)"
_CLOCK_TOLERANCE = timedelta(minutes=4)
"""Less than what any service accepts (5 minutes, EC2 and S3 15: IAM user guide, "Troubleshoot Signature Version 4")."""


def is_about_sign_in(error: AwsError) -> bool:
    """Whether no credentials, expired ones or a clock that is off are the cause: no other call fares better then."""
    return isinstance(error, ClockError) or (
        isinstance(error, AccessError) and (not error.code or error.code in _EXPIRED)
    )


def is_denied(error: AwsError) -> bool:
    """Whether the credentials are good and a permission is missing."""
    return error.code in _DENIED


def may_pass(error: AwsError) -> bool:
    """Whether the same call may succeed later by itself: no answer came, or calls came too fast."""
    return isinstance(error, UnreachableError) or error.code in _THROTTLED


# All of them raised before anything is sent.
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
    """Turn what botocore raises into our errors. `doing` completes "Could not …".

    Raises AccessError (credentials, permissions), ClockError (this machine's clock), InputError (AWS configuration on
    this machine), UnreachableError (no answer) and AwsError (any other refusal, with AWS's code).
    """
    try:
        yield
    except ClientError as error:
        raise _refusal(error, doing) from error
    except _NO_CREDENTIALS as error:
        raise AccessError(
            f"Could not {doing}: this machine has no usable AWS credentials.",
            why=str(error),
            do="Sign in (aws sso login, aws configure) or set AWS_PROFILE, then run the command again.",
        ) from error
    except _SIGN_IN_ENDED as error:
        raise AccessError(
            f"Could not {doing}: the AWS sign-in has ended.",
            why=str(error),
            do="Sign in again (aws sso login, aws login), then run the command again.",
        ) from error
    except _MISCONFIGURED as error:
        raise InputError(
            f"Could not {doing}: the AWS configuration of this machine can't be used.",
            why=str(error),
            do="Check the AWS_… variables, and the file ~/.aws/config (aws configure list).",
        ) from error
    except (ConnectionError, HTTPClientError, ResponseParserError) as error:
        raise UnreachableError(
            f"Could not {doing}: no answer from AWS.", why=str(error), do="Check the network and try again."
        ) from error
    except BotoCoreError as error:
        raise AwsError(f"Could not {doing}.", why=str(error)) from error


@contextmanager
def reading(doing: str) -> Iterator[None]:
    """`calling`, and AwsError for an answer that cannot be understood as well: one that lacks what it always has."""
    try:
        with calling(doing):
            yield
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise AwsError(f"Could not {doing}: AWS's answer makes no sense.", why=repr(error), do="Try again.") from error


def utc(time: datetime) -> datetime:
    """A time of botocore's, which is aware, in UTC."""
    return time.astimezone(timezone.utc)


# Codes differ by service and protocol for the same thing, and a region that is not enabled is answered as if the
# credentials were wrong; these are the ones the EC2, SSM, S3, STS
# and Secrets Manager API references list under common errors.
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
# AWS refuses a request by these when its date is too far off. SigV4's two are a wrong key's as well, hence the text.
_SKEWED = {"RequestExpired", "RequestTimeTooSkewed"}
_SKEWED_SIGNATURE = re.compile(r"Signature expired|Signature not yet current")
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
# Some of them come with a server error's status, but they are refusals: nothing took effect.
_THROTTLED = {"RequestLimitExceeded", "Throttling", "ThrottlingException"}
_SERVER = {"InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "Unavailable"}


def _refusal(error: ClientError, doing: str) -> AwsError:
    # botocore makes None of an empty element.
    code = error.response.get("Error", {}).get("Code") or ""
    message = error.response.get("Error", {}).get("Message") or ""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    offset = clock_offset(error.response)
    is_skewed = abs(offset) > _CLOCK_TOLERANCE
    if is_skewed and (code in _SKEWED or _SKEWED_SIGNATURE.search(message)):
        return ClockError(
            f"Could not {doing}: this machine's clock is {_in_words(offset)}.",
            code=code,
            why=f"AWS refuses requests with a date that is more than 5 minutes off ({code}: {message})",
            do=f"{_SET_THE_CLOCK}, then run the same command again.",
        )
    if code in _EXPIRED:
        return AccessError(
            f"Could not {doing}: the AWS credentials have expired.",
            code=code,
            why=message,
            do="Sign in again, then run the same command: it takes up where it stopped.",
        )
    if code in _BAD_CREDENTIALS:
        return AccessError(
            f"Could not {doing}: AWS does not accept these credentials here.",
            code=code,
            why=message,
            do="Check AWS_PROFILE, or the access key in use (aws sts get-caller-identity). If they work elsewhere, the"
            " account has not enabled this region: aws account enable-region --region-name REGION."
            + (f"\nThis machine's clock is {_in_words(offset)}, which may be the cause. {_SET_THE_CLOCK}." * is_skewed),
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
            f"Could not {doing}: AWS takes no more requests of this kind for now.",
            code=code,
            why=f"{code}: {message}",
            do="Wait a minute, then run the same command again.",
        )
    if code in _SERVER or status >= 500:
        return UnreachableError(f"Could not {doing}: AWS answered with a fault of its own.", code=code, why=message)
    return AwsError(f"Could not {doing}.", code=code, why=f"{code}: {message}")


def clock_offset(answer: Mapping[str, Any]) -> timedelta:
    """How far this machine's clock is ahead of AWS's, by the `Date` of an answer; zero where it has none."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return datetime.now(timezone.utc) - utc(parsedate_to_datetime(date))
    except (TypeError, ValueError):
        return timedelta(0)


def _in_words(offset: timedelta) -> str:
    minutes = round(abs(offset) / timedelta(minutes=1))
    return f"{minutes} minutes {'fast' if offset > timedelta(0) else 'slow'}"


def _missing_action(code: str, message: str, operation: str) -> str:
    """The IAM action AWS names in its message, else the operation that was called."""
    named = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
    if named:
        return named.group(1)
    # Of the services used here only EC2 has messages without the action, and a code of its own for them.
    return f"ec2:{operation}" if code == "UnauthorizedOperation" else operation


def aws_time(answer: Mapping[str, Any]) -> datetime:
    """When AWS gave this answer, by its own clock: a laptop's may be wrong, and blocks end on the minute."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return utc(parsedate_to_datetime(date))
    except ValueError:
        return datetime.now(timezone.utc)
