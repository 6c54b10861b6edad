"""The S3 bucket for Terraform's state: creates it, and corrects its settings when run again.

The bucket is encrypted with S3's keys (SSE-S3). The state holds no secret, because the password is an ephemeral value,
and a KMS key would cost money and need a permission of its own. A bucket that already uses KMS keeps it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchneuron.aws.errors import calling
from torchneuron.core import display, files
from torchneuron.core import tags as project_tags
from torchneuron.core.config import Config, save_state_bucket
from torchneuron.core.errors import AwsError, InputError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts import STSClient

_MAX_NAME_LENGTH = 63  # S3 user guide, "Bucket naming rules"
_TLS_ONLY = "DenyWithoutTLS"
# The errors for settings that were never made (S3 API reference, "Error responses").
_UNSET = frozenset(
    {
        "NoSuchPublicAccessBlockConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
        "OwnershipControlsNotFoundError",
        "NoSuchBucketPolicy",
        "NoSuchTagSet",
    }
)


@dataclass(frozen=True)
class BucketReport:
    """The result of bootstrap; of a dry run, what would be done. `changed` are names of bucket settings."""

    name: str
    region: str
    created: bool
    changed: tuple[str, ...]
    settings_saved: bool


def bootstrap(s3: S3Client, sts: STSClient, config: Config, region: str, *, dry_run: bool = False) -> BucketReport:
    """Create the state bucket, or correct the settings of an existing one, and save its name in the settings.

    A bucket that the settings name is used, wherever it is: state is never moved. Raises InputError if the account may
    not use the bucket, or if the settings keep state elsewhere.
    """
    if config.backend["type"] != "s3":
        raise InputError(
            f"The settings keep Terraform's state elsewhere (backend type {config.backend['type']!r}).",
            do=f'To keep it in S3, set "backend" in {config.path} to {{"type": "s3"}} and run this again.',
        )
    with calling("look up the account"):
        account = sts.get_caller_identity()["Account"]
    saved_name, saved_region = config.backend.get("bucket"), config.backend.get("region")
    if saved_name:
        region = saved_region or region
    bucket = _Bucket(s3, saved_name or bucket_name(config.project_name, account, region), account)
    actual_region = bucket.region(default=region)
    region = actual_region or region
    save = (saved_name, saved_region) != (bucket.name, region)
    created = actual_region is None
    if dry_run:
        changed = tuple(_SETTINGS) if created else tuple(bucket.wrong_settings(config.project_name))
        return BucketReport(bucket.name, region, created, changed, save)
    if save:
        files.check_writable(config.path)
    created = created and bucket.create(region)
    wrong = bucket.wrong_settings(config.project_name)
    for name, parameters in wrong.items():
        bucket.put(name, parameters)
    if save:
        save_state_bucket(config, bucket.name, region)
    return BucketReport(bucket.name, region, created, tuple(wrong), save)


def show(report: BucketReport) -> None:
    """Print the result of bootstrap."""
    state = "created" if report.created else "already exists"
    display.say(f"State bucket {report.name} in {report.region}: {state}.")
    display.say(f"Set: {', '.join(report.changed)}." if report.changed else "All settings are correct.")
    if report.settings_saved:
        display.say("Its name is saved in the settings; invoke deploy and cdktf deploy use it.")


def show_dry_run(report: BucketReport) -> None:
    """Print what bootstrap would do."""
    state = "would be created" if report.created else "already exists"
    display.say(f"State bucket {report.name} in {report.region}: {state}.")
    display.say(f"Would be set: {', '.join(report.changed)}." if report.changed else "All settings are correct.")
    if report.settings_saved:
        display.say("Its name would be saved in the settings.")
    display.note("Dry run. Nothing was changed.")


def bucket_name(project: str, account: str, region: str) -> str:
    """`{project}-tfstate-{account}-{region}`, at most 63 characters.

    A project name that is too long is cut and gets six characters of its hash, so that two projects with the same
    beginning do not share a bucket.
    """
    suffix = f"-tfstate-{account}-{region}"
    available = _MAX_NAME_LENGTH - len(suffix)
    if len(project) > available:
        digest = hashlib.sha256(project.encode()).hexdigest()[:6]
        project = f"{project[: available - 7].rstrip('-')}-{digest}"
    return project + suffix


def bucket_pattern(project: str) -> str:
    """The bucket's name with wildcards for account and region, for policies written before the bucket exists."""
    name = bucket_name(project, "*", "*")
    # With the longest account and region, this much of the project's name is not cut.
    available = _MAX_NAME_LENGTH - len("-tfstate-123456789012-ap-southeast-4")
    return name if len(project) <= available else f"{project[: available - 7].rstrip('-')}*-tfstate-*-*"


class _Bucket:
    """A bucket of one account. Every call names the owner, so that S3 rejects anyone else's bucket."""

    def __init__(self, s3: S3Client, name: str, account: str) -> None:
        self.name = name
        self.arn = f"arn:{s3.meta.partition}:s3:::{name}"
        self._s3: Any = s3
        self._account = account
        self._bucket = {"Bucket": name, "ExpectedBucketOwner": account}

    def region(self, *, default: str) -> str | None:
        """Where the bucket is, None if it does not exist; `default` if S3 does not say.

        boto3 follows a bucket to another region; Terraform does not. Raises InputError for someone else's bucket.
        """
        try:
            with calling(f"look up the bucket {self.name}"):
                region: str = self._s3.head_bucket(**self._bucket).get("BucketRegion") or default
                return region
        except AwsError as error:
            if error.code in ("404", "NoSuchBucket"):
                return None
            if error.code in ("403", "AccessDenied"):
                raise self._not_accessible(error) from error
            raise

    def create(self, region: str) -> bool:
        """Whether the bucket was created here, and not at the same time by another run.

        Raises InputError if another account has the name.
        """
        # us-east-1 is the default, which S3 does not accept as a location.
        location = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != "us-east-1" else {}
        try:
            with calling(f"create the bucket {self.name}"):
                self._s3.create_bucket(Bucket=self.name, ObjectOwnership="BucketOwnerEnforced", **location)
        except AwsError as error:
            if error.code == "BucketAlreadyOwnedByYou":
                return False
            if error.code == "BucketAlreadyExists":
                raise self._not_accessible(error) from error
            raise
        return True

    def wrong_settings(self, project: str) -> dict[str, dict[str, Any]]:
        """The names of settings that are not as they must be, with the parameters of the request that corrects each."""
        wrong = {}
        for name, setting in _SETTINGS.items():
            if parameters := setting.correction(self._get(setting.operation), self, project):
                wrong[name] = parameters
        return wrong

    def put(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Correct one setting."""
        with calling(f"change the bucket {self.name} ({name})"):
            getattr(self._s3, f"put_{_SETTINGS[name].operation}")(**parameters, **self._bucket)

    def _get(self, operation: str) -> dict[str, Any]:
        try:
            with calling(f"read the settings of the bucket {self.name}"):
                return dict(getattr(self._s3, f"get_{operation}")(**self._bucket))
        except AwsError as error:
            if error.code in _UNSET:
                return {}
            raise

    def _not_accessible(self, error: AwsError) -> InputError:
        return InputError(
            f"Account {self._account} may not use the bucket {self.name}.",
            why="It belongs to another account, or these credentials lack the permission s3:ListBucket."
            f" AWS: {error.why}",
            do='Ask for the permission, or name another bucket in the settings ("backend", "bucket").',
        )


@dataclass(frozen=True)
class _Setting:
    """A bucket setting: S3's operation without `get_` and `put_`, and what corrects the response to `get_`.

    `correction` returns the parameters of `put_`, empty if the setting is correct.
    """

    operation: str
    correction: Callable[[Mapping[str, Any], _Bucket, str], dict[str, Any]]


def _public_access(current: Mapping[str, Any], bucket: _Bucket, project: str) -> dict[str, Any]:
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    wanted = {"PublicAccessBlockConfiguration": dict.fromkeys(names, True)}
    return {} if wanted.items() <= current.items() else wanted


def _ownership(current: Mapping[str, Any], bucket: _Bucket, project: str) -> dict[str, Any]:
    wanted = {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}}
    return {} if wanted.items() <= current.items() else wanted


def _policy(current: Mapping[str, Any], bucket: _Bucket, project: str) -> dict[str, Any]:
    """Other statements in the policy are kept."""
    tls_only = {
        "Sid": _TLS_ONLY,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket.arn, f"{bucket.arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    policy = json.loads(current.get("Policy", '{"Version": "2012-10-17", "Statement": []}'))
    if tls_only in policy["Statement"]:
        return {}
    others = [statement for statement in policy["Statement"] if statement.get("Sid") != _TLS_ONLY]
    return {"Policy": json.dumps({**policy, "Statement": [*others, tls_only]})}


def _encryption(current: Mapping[str, Any], bucket: _Bucket, project: str) -> dict[str, Any]:
    """Any encryption is kept, including KMS."""
    if current.get("ServerSideEncryptionConfiguration", {}).get("Rules"):
        return {}
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}


def _versioning(current: Mapping[str, Any], bucket: _Bucket, project: str) -> dict[str, Any]:
    return {} if current.get("Status") == "Enabled" else {"VersioningConfiguration": {"Status": "Enabled"}}


def _tagging(current: Mapping[str, Any], bucket: _Bucket, project: str) -> dict[str, Any]:
    """Other tags are kept."""
    tags = {tag["Key"]: tag["Value"] for tag in current.get("TagSet", [])}
    wanted = {**tags, **project_tags.for_project(project)}
    return {} if wanted == tags else {"Tagging": {"TagSet": project_tags.to_aws(wanted)}}


_SETTINGS = {
    "public access blocked": _Setting("public_access_block", _public_access),
    "access by policy only, no ACLs": _Setting("bucket_ownership_controls", _ownership),
    "TLS only": _Setting("bucket_policy", _policy),
    "encrypted": _Setting("bucket_encryption", _encryption),
    "versioned": _Setting("bucket_versioning", _versioning),
    "tagged": _Setting("bucket_tagging", _tagging),
}
