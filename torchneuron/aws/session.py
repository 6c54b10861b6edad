"""AWS clients, with the retries and timeouts of each.

Functions receive their clients; only this module creates them. `AWS_ENDPOINT_URL`, profiles and credentials work as
boto3 documents them.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import boto3
import botocore.session
from botocore.config import Config as ClientConfig
from botocore.loaders import Loader, create_loader

from torchneuron.aws.errors import SEARCH_LIMIT, calling
from torchneuron.core.errors import InputError
from torchneuron.core.text import unknown_name

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

# In seconds. Lookups are safe to repeat: botocore's standard mode retries with backoff.
_LOOKUPS = ClientConfig(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 6})
BRIEF = ClientConfig(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
"""For optional lookups while a person waits."""
# PurchaseCapacityBlock and SendCommand have no client token: a retried request may buy or run twice.
_ONCE = ClientConfig(connect_timeout=10, read_timeout=60, retries={"total_max_attempts": 1})

_SEARCH_ATTEMPTS = 5
# The Price List Query API also has endpoints in eu-central-1 and ap-south-1.
_PRICING_REGION = "us-east-1"
_LONGEST_FIRST_PAUSE = 2.0

Wait = Callable[[float], object]
"""Waits a number of seconds. Returns True if the wait was interrupted and the caller should give up."""


class Aws:
    """AWS in one region: creates clients. `lookups` is the configuration of clients that only read.

    Raises InputError for a region that does not exist.
    """

    def __init__(self, region: str, session: boto3.Session | None = None, *, lookups: ClientConfig = _LOOKUPS) -> None:
        self.region = region
        self._lookups = lookups
        with calling("read the AWS configuration"):
            self._session = session or _new_session()
        known = self._known_regions()
        if region not in known:
            raise InputError(
                f"AWS has no region {region!r}.",
                why=unknown_name(region, known),
                do="If AWS opened it recently, install a newer boto3.",
            )

    def _known_regions(self) -> list[str]:
        session = self._session
        parts = session.get_available_partitions()
        return [name for part in parts for name in session.get_available_regions("ec2", partition_name=part)]

    def elsewhere(self, region: str) -> Aws:
        """The same account in another region. Both share a session: create their clients in one thread."""
        return Aws(region, self._session, lookups=self._lookups)

    def brief(self) -> Aws:
        """The same account and region, with the BRIEF configuration."""
        return Aws(self.region, self._session, lookups=BRIEF)

    def credentials(self) -> tuple[str, str]:
        """botocore's name for where it found the credentials (empty without any), and the profile in use."""
        with calling("read the AWS credentials"):
            found = self._session.get_credentials()
        return str(found.method) if found else "", self._session.profile_name

    def enabled_regions(self) -> list[str]:
        """The regions enabled for this account that this boto3 knows. One call."""
        with calling("list the account's regions"):
            answer = self.ec2().describe_regions()
        known = self._known_regions()
        return sorted(region["RegionName"] for region in answer["Regions"] if region["RegionName"] in known)

    def ec2(self, *, wait: Wait = time.sleep) -> EC2Client:
        """EC2 for lookups. A throttled Capacity Block search is retried after a `wait`, up to four times in 30 s."""
        client = cast("EC2Client", self._client("ec2", self._lookups))
        # The stubs declare handlers without a return value.
        handler = cast("Callable[..., None]", _backing_off(wait))
        client.meta.events.register("needs-retry.ec2.DescribeCapacityBlockOfferings", handler)
        return client

    def ec2_once(self) -> EC2Client:
        """EC2 for a call that must not be repeated: no retries."""
        return cast("EC2Client", self._client("ec2", _ONCE))

    def ssm(self) -> SSMClient:
        return cast("SSMClient", self._client("ssm", self._lookups))

    def ssm_once(self) -> SSMClient:
        """SSM for a call that must not be repeated: no retries."""
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
        """The Price List Query API. A few regions serve the prices of all."""
        return self._client("pricing", BRIEF, region=_PRICING_REGION)

    def _client(self, service: str, policy: ClientConfig, region: str = "") -> Any:
        doing = f"prepare to talk to {service}"
        try:
            with calling(doing):
                return self._session.client(  # type: ignore[call-overload]
                    service, region_name=region or self.region, config=policy
                )
        except ValueError as error:  # an endpoint that is not a URL
            raise InputError(
                f"Could not {doing}.",
                why=str(error),
                do="Check AWS_ENDPOINT_URL and the service's AWS_ENDPOINT_URL_… variable.",
            ) from error


@functools.cache
def _shared_loader(data_path: str | None) -> Loader:
    """The reader of botocore's service models, with its cache: all sessions of a process share it."""
    loader: Loader = create_loader(data_path)
    return loader


def _new_session() -> boto3.Session:
    session = botocore.session.Session()
    session.register_component("data_loader", _shared_loader(session.get_config_variable("data_path")))
    return boto3.Session(botocore_session=session)


def _backing_off(wait: Wait) -> Callable[..., float | bool | None]:
    """A botocore retry handler for throttled searches. It returns None to apply botocore's rules, False to give up.

    The handler waits itself and returns 0: botocore's own sleep in another thread would outlast a Ctrl-C. The pauses
    double from at most 2 s; each is a random half to whole of that, to spread parallel searches.
    """

    def needs_retry(attempts: int, response: tuple[Any, dict[str, Any]] | None, **_: object) -> float | bool | None:
        if not response or response[1].get("Error", {}).get("Code") != SEARCH_LIMIT:
            return None
        if attempts >= _SEARCH_ATTEMPTS:
            return False
        pause = _LONGEST_FIRST_PAUSE * 2 ** (attempts - 1) * random.uniform(0.5, 1)
        return False if wait(pause) is True else 0.0

    return needs_retry
