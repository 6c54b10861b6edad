"""Everything about talking to AWS that is not a service's own business, decided in one place:
how clients retry and time out, and what AWS's errors are called here.

Clients are made here and handed to the functions that use them; `AWS_ENDPOINT_URL`,
profiles and credentials work as boto3 documents them.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config as ClientConfig
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

from torchneuron.errors import AccessError, AwsError, InputError, UnreachableError
from torchneuron.schema import unknown_name

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

# Seconds. Lookups may be repeated freely: botocore's standard mode backs off and tries again.
_LOOKUPS = ClientConfig(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 6})
BRIEF = ClientConfig(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
"""For lookups that somebody waits for and that may as well go without an answer."""
# PurchaseCapacityBlock and SendCommand have no client token: a repeated request buys, or runs, twice.
_ONCE = ClientConfig(connect_timeout=10, read_timeout=60, retries={"total_max_attempts": 1})

SEARCH_LIMIT = "CapacityBlockDescribeLimitExceeded"
"""EC2's code for searches of Capacity Blocks that come too fast, which botocore takes for an ordinary refusal."""
_SEARCH_ATTEMPTS = 5
_LONGEST_FIRST_PAUSE = 2.0

Wait = Callable[[float], object]
"""Waits the seconds it is given. One that returns True was interrupted: what it waited for is given up."""


class Aws:
    """AWS in one region: makes the clients the library asks for, each with its policy, which is `lookups` for lookups.

    Raises InputError for a region that AWS does not have.
    """

    def __init__(self, region: str, session: boto3.Session | None = None, *, lookups: ClientConfig = _LOOKUPS) -> None:
        self.region = region
        self._lookups = lookups
        with calling("read the AWS configuration"):
            self._session = session or boto3.Session()
        known = self._known_regions()
        if region not in known:
            raise InputError(
                f"AWS has no region {region!r}.",
                why=unknown_name(region, known),
                do="If AWS opened it lately, install a newer boto3.",
            )

    def _known_regions(self) -> list[str]:
        session = self._session
        parts = session.get_available_partitions()
        return [name for part in parts for name in session.get_available_regions("ec2", partition_name=part)]

    def elsewhere(self, region: str) -> Aws:
        """The same account in another region. One session is behind both: make their clients in one thread."""
        return Aws(region, self._session, lookups=self._lookups)

    def enabled_regions(self) -> list[str]:
        """The regions enabled for this account, of those that this boto3 knows. One call."""
        with calling("list the account's regions"):
            answer = self.ec2().describe_regions()
        known = self._known_regions()
        return sorted(one["RegionName"] for one in answer["Regions"] if one["RegionName"] in known)

    def ec2(self, *, wait: Wait = time.sleep) -> EC2Client:
        """EC2 for lookups. A search that came too fast is repeated after a `wait`, up to four times in 30 s."""
        client = cast("EC2Client", self._client("ec2", self._lookups))
        # The stubs know of handlers that return nothing only.
        handler = cast("Callable[..., None]", _backing_off(wait))
        client.meta.events.register("needs-retry.ec2.DescribeCapacityBlockOfferings", handler)
        return client

    def ec2_once(self) -> EC2Client:
        """EC2 for a call that must never be repeated: one attempt, no retries."""
        return cast("EC2Client", self._client("ec2", _ONCE))

    def ssm(self) -> SSMClient:
        return cast("SSMClient", self._client("ssm", self._lookups))

    def ssm_once(self) -> SSMClient:
        """SSM for a call that must never be repeated: one attempt, no retries."""
        return cast("SSMClient", self._client("ssm", _ONCE))

    def secrets(self) -> SecretsManagerClient:
        return cast("SecretsManagerClient", self._client("secretsmanager", self._lookups))

    def s3(self) -> S3Client:
        return cast("S3Client", self._client("s3", self._lookups))

    def sts(self) -> STSClient:
        return cast("STSClient", self._client("sts", self._lookups))

    def service_quotas(self) -> Any:
        return self._client("service-quotas", self._lookups)

    def _client(self, service: str, policy: ClientConfig) -> Any:
        doing = f"prepare to talk to {service}"
        try:
            with calling(doing):
                return self._session.client(service, region_name=self.region, config=policy)  # type: ignore[call-overload]
        except ValueError as error:  # what botocore raises for an endpoint that is no URL
            raise InputError(
                f"Could not {doing}.",
                why=str(error),
                do="Check AWS_ENDPOINT_URL, and AWS_ENDPOINT_URL_… of the service.",
            ) from error


def _backing_off(wait: Wait) -> Callable[..., float | bool | None]:
    """botocore's handler for the search limit: None leaves an answer to its own rules, False ends the attempts.

    It waits itself and returns 0, for botocore would sleep through a Ctrl-C in another thread. The pauses double
    from at most 2 s; each is a random half to whole of that, so that parallel searches don't return together.
    """

    def needs_retry(attempts: int, response: tuple[Any, dict[str, Any]] | None, **_: object) -> float | bool | None:
        if not response or response[1].get("Error", {}).get("Code") != SEARCH_LIMIT:
            return None
        if attempts >= _SEARCH_ATTEMPTS:
            return False
        pause = _LONGEST_FIRST_PAUSE * 2 ** (attempts - 1) * random.uniform(0.5, 1)
        return False if wait(pause) is True else 0.0

    return needs_retry


def is_about_sign_in(error: AwsError) -> bool:
    """Whether there are no credentials or they have expired: then no region and no other call fares better."""
    return isinstance(error, AccessError) and (not error.code or error.code in _EXPIRED)


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

    Raises AccessError (credentials, permissions), InputError (AWS configuration on this machine),
    UnreachableError (no answer) and AwsError (any other refusal, with AWS's code).
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
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
# Some of them come with a server error's status, but they are refusals: nothing took effect.
_THROTTLED = {"RequestLimitExceeded", "Throttling", "ThrottlingException"}
_SERVER = {"InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "Unavailable"}


def _refusal(error: ClientError, doing: str) -> AwsError:
    # botocore makes None of an empty element.
    code = error.response.get("Error", {}).get("Code") or ""
    message = error.response.get("Error", {}).get("Message") or ""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
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
            " account has not enabled this region: aws account enable-region --region-name REGION.",
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


def _missing_action(code: str, message: str, operation: str) -> str:
    """The IAM action AWS names in its message, else the operation that was called."""
    named = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
    if named:
        return named.group(1)
    # Of the services used here only EC2 has messages without the action, and a code of its own for them.
    return f"ec2:{operation}" if code == "UnauthorizedOperation" else operation
