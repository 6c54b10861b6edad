"""Clients for AWS, and how they retry and time out, in one place; what their errors are called: `errors`.

Clients are made here and handed to the functions that use them; `AWS_ENDPOINT_URL`,
profiles and credentials work as boto3 documents them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config as ClientConfig

from torchneuron.aws.errors import SEARCH_LIMIT, calling
from torchneuron.core.errors import InputError
from torchneuron.core.text import unknown_name

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

_SEARCH_ATTEMPTS = 5
# Others are eu-central-1 and ap-south-1 (botocore's endpoints).
_PRICING_REGION = "us-east-1"
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

    def brief(self) -> Aws:
        """The same account and region, with lookups that somebody waits for."""
        return Aws(self.region, self._session, lookups=BRIEF)

    def credentials(self) -> tuple[str, str]:
        """How botocore found the credentials, by its own name for it (empty without any), and the profile in use."""
        with calling("read the AWS credentials"):
            found = self._session.get_credentials()
        return str(found.method) if found else "", self._session.profile_name

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

    def iam(self) -> Any:
        return self._client("iam", self._lookups)

    def s3(self) -> S3Client:
        return cast("S3Client", self._client("s3", self._lookups))

    def sts(self) -> STSClient:
        return cast("STSClient", self._client("sts", self._lookups))

    def service_quotas(self) -> Any:
        return self._client("service-quotas", self._lookups)

    def pricing(self) -> Any:
        """The Price List Query API, which answers for every region from a few."""
        return self._client("pricing", BRIEF, region=_PRICING_REGION)

    def _client(self, service: str, policy: ClientConfig, region: str = "") -> Any:
        doing = f"prepare to talk to {service}"
        try:
            with calling(doing):
                return self._session.client(  # type: ignore[call-overload]
                    service, region_name=region or self.region, config=policy
                )
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
