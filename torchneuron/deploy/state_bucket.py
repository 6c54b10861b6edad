"""The S3 bucket Terraform's state lives in: made once, and put right again by the same command.

Encrypted by S3's own keys (SSE-S3), not by KMS: the state holds no secret (the password is an ephemeral
value), and a KMS key would cost money and need a permission of its own for every person and every CI run
that plans. A bucket someone has given KMS encryption keeps it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchneuron.aws.errors import calling
from torchneuron.core import display, files
from torchneuron.core import tags as project_tags
from torchneuron.core.config import Config, save_state_bucket
from torchneuron.core.errors import AwsError, InputError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import PublicAccessBlockConfigurationTypeDef
    from mypy_boto3_sts import STSClient

_LONGEST_NAME = 63  # S3 user guide, "Bucket naming rules"
_TLS_ONLY = "DenyWithoutTLS"
_BLOCKED: PublicAccessBlockConfigurationTypeDef = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
# What S3 answers where a setting was never made (S3 API reference, "Error responses").
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
    """What bootstrap found and did: whether it made the bucket, and which settings it had to change."""

    name: str
    region: str
    created: bool
    changed: tuple[str, ...]
    settings_saved: bool


def bootstrap(s3: S3Client, sts: STSClient, config: Config, region: str) -> BucketReport:
    """Make the state bucket, or put the one there is right, and write its name into the settings.

    A bucket the settings already name is kept, wherever it is: state is never moved. Raises InputError when
    the bucket is not this account's to use, or when state is kept elsewhere on purpose.
    """
    place = _place(s3, sts, config, region)
    bucket = place.bucket
    if place.named != (bucket.name, bucket.region):
        files.check_writable(config.path)
    created = bucket.create_unless_there()
    changed = []
    for name, put in bucket.wrong_settings(config.project_name):
        put()
        changed.append(name)
    saved = place.named != (bucket.name, bucket.region)
    if saved:
        save_state_bucket(config, bucket.name, bucket.region)
    return BucketReport(bucket.name, bucket.region, created, tuple(changed), saved)


def try_out(s3: S3Client, sts: STSClient, config: Config, region: str) -> BucketReport:
    """What `bootstrap` would do, by looking only. Raises InputError as it does."""
    place = _place(s3, sts, config, region)
    bucket = place.bucket
    is_there = bucket.is_there()
    wrong = [name for name, _ in bucket.wrong_settings(config.project_name)] if is_there else bucket.SETTINGS
    saved = place.named != (bucket.name, bucket.region)
    return BucketReport(bucket.name, bucket.region, not is_there, tuple(wrong), saved)


@dataclass(frozen=True)
class _Placed:
    """The bucket to use, and the name and region that the settings have for it so far."""

    bucket: _Bucket
    named: tuple[str | None, str | None]


def _place(s3: S3Client, sts: STSClient, config: Config, region: str) -> _Placed:
    if config.backend["type"] != "s3":
        raise InputError(
            f"The settings keep Terraform's state elsewhere (backend type {config.backend['type']!r}).",
            do=f'To keep it in S3, set "backend" in {config.path} to {{"type": "s3"}} and run this again.',
        )
    with calling("ask AWS whose credentials these are"):
        account = sts.get_caller_identity()["Account"]
    named = config.backend.get("bucket")
    name = named or bucket_name(config.project_name, account, region)
    region = (config.backend.get("region") or region) if named else region
    return _Placed(_Bucket(s3, name, region, account), (named, config.backend.get("region")))


def show(report: BucketReport) -> None:
    """The result, for a person."""
    state = "made" if report.created else "was there"
    display.say(f"State bucket {report.name} in {report.region}: {state}.")
    display.say(f"Set: {', '.join(report.changed)}." if report.changed else "All its settings were right.")
    if report.settings_saved:
        display.say("Its name is in the settings now: invoke deploy and cdktf deploy will use it.")


def show_dry_run(report: BucketReport) -> None:
    """What bootstrap would do, for a person."""
    verb = "would be made" if report.created else "is there"
    display.say(f"State bucket {report.name} in {report.region}: {verb}.")
    display.say(f"Would be set: {', '.join(report.changed)}." if report.changed else "All its settings are right.")
    if report.settings_saved:
        display.say("Its name would be written into the settings.")
    display.note("Dry run. Nothing was changed.")


def bucket_name(project: str, account: str, region: str) -> str:
    """`{project}-tfstate-{account}-{region}`, at most 63 characters.

    A project name that is too long is cut, and ends in six characters of its hash, so that two such
    projects do not share a bucket.
    """
    rest = f"-tfstate-{account}-{region}"
    room = _LONGEST_NAME - len(rest)
    if len(project) > room:
        digest = hashlib.sha256(project.encode()).hexdigest()[:6]
        project = f"{project[: room - 7].rstrip('-')}-{digest}"
    return project + rest


def bucket_pattern(project: str) -> str:
    """What the bucket's name looks like in any account and region, with `*`: for who may not know them yet."""
    whole = bucket_name(project, "*", "*")
    # The longest account and region leave this much of the project's name uncut.
    uncut = _LONGEST_NAME - len("-tfstate-123456789012-ap-southeast-4")
    return whole if len(project) <= uncut else f"{project[: uncut - 7].rstrip('-')}*-tfstate-*-*"


class _Bucket:
    """One bucket of one account: every call names its owner, so that S3 refuses anyone else's.

    `region` is where it is to be made, and where it is once that is known.
    """

    SETTINGS = (
        "public access blocked",
        "access by policy only, no ACLs",
        "TLS only",
        "encrypted",
        "versioned",
        "tagged",
    )
    """What the bucket must have."""

    def __init__(self, s3: S3Client, name: str, region: str, account: str) -> None:
        self._s3 = s3
        self.region = region
        self._account = account
        self.name = name
        self._which: Any = {"Bucket": name, "ExpectedBucketOwner": account}

    def create_unless_there(self) -> bool:
        """Whether the bucket had to be made. Raises InputError when it is somebody else's."""
        if self.is_there():
            return False
        place: Any = {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        try:
            with calling(f"make the bucket {self.name}"):
                self._s3.create_bucket(
                    Bucket=self.name,
                    ObjectOwnership="BucketOwnerEnforced",
                    # S3 takes no location for us-east-1: it is where a bucket is by default.
                    **({} if self.region == "us-east-1" else place),
                )
        except AwsError as error:
            if error.code == "BucketAlreadyOwnedByYou":
                return False
            if error.code == "BucketAlreadyExists":
                raise self._not_ours(error) from error
            raise
        return True

    def wrong_settings(self, project: str) -> Iterator[tuple[str, Callable[[], object]]]:
        """Those of `SETTINGS` that the bucket lacks, each with the function that makes it."""
        looks: tuple[Callable[[], Callable[[], object] | None], ...] = (
            self._block_public_access,
            self._enforce_ownership,
            self._refuse_plain_http,
            self._encrypt,
            self._keep_versions,
            lambda: self._tag(project_tags.for_project(project)),
        )
        for name, look in zip(self.SETTINGS, looks, strict=True):
            if put := look():
                yield name, put

    def is_there(self) -> bool:
        """Whether the bucket exists. Raises InputError when it is somebody else's."""
        try:
            with calling(f"look for the bucket {self.name}"):
                found = self._s3.head_bucket(**self._which)
        except AwsError as error:
            if error.code in ("404", "NoSuchBucket"):
                return False
            if error.code in ("403", "AccessDenied"):
                raise self._not_ours(error) from error
            raise
        # boto3 follows a bucket to another region, Terraform does not.
        self.region = found.get("BucketRegion") or self.region
        return True

    def _not_ours(self, error: AwsError) -> InputError:
        return InputError(
            f"The bucket {self.name} is not one that account {self._account} may use.",
            why="It belongs to another account, or these credentials may not see it (s3:ListBucket)."
            f" AWS said: {error.why}",
            do='Ask for the permission, or name a bucket of yours in the settings ("backend", "bucket").',
        )

    def _block_public_access(self) -> Callable[[], object] | None:
        now = self._read(lambda: self._s3.get_public_access_block(**self._which))
        if now.get("PublicAccessBlockConfiguration") == _BLOCKED:
            return None
        return self._put(
            f"block public access to {self.name}",
            self._s3.put_public_access_block,
            PublicAccessBlockConfiguration=_BLOCKED,
        )

    def _enforce_ownership(self) -> Callable[[], object] | None:
        rules: Any = [{"ObjectOwnership": "BucketOwnerEnforced"}]
        now = self._read(lambda: self._s3.get_bucket_ownership_controls(**self._which))
        if now.get("OwnershipControls", {}).get("Rules") == rules:
            return None
        return self._put(
            f"turn ACLs off for {self.name}", self._s3.put_bucket_ownership_controls, OwnershipControls={"Rules": rules}
        )

    def _refuse_plain_http(self) -> Callable[[], object] | None:
        """Add our statement to the bucket's policy, leaving those others have written."""
        now = self._read(lambda: self._s3.get_bucket_policy(**self._which))
        policy = json.loads(now.get("Policy", '{"Version": "2012-10-17", "Statement": []}'))
        ours = self._tls_statement()
        if ours in policy["Statement"]:
            return None
        others = [statement for statement in policy["Statement"] if statement.get("Sid") != _TLS_ONLY]
        policy["Statement"] = [*others, ours]
        return self._put(f"write the policy of {self.name}", self._s3.put_bucket_policy, Policy=json.dumps(policy))

    def _tls_statement(self) -> dict[str, Any]:
        arn = f"arn:{self._s3.meta.partition}:s3:::{self.name}"
        return {
            "Sid": _TLS_ONLY,
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, f"{arn}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }

    def _encrypt(self) -> Callable[[], object] | None:
        """Any encryption the bucket has is kept, KMS included."""
        now = self._read(lambda: self._s3.get_bucket_encryption(**self._which))
        if now.get("ServerSideEncryptionConfiguration", {}).get("Rules"):
            return None
        rule: Any = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        return self._put(
            f"encrypt {self.name}", self._s3.put_bucket_encryption, ServerSideEncryptionConfiguration={"Rules": [rule]}
        )

    def _keep_versions(self) -> Callable[[], object] | None:
        now = self._read(lambda: self._s3.get_bucket_versioning(**self._which))
        if now.get("Status") == "Enabled":
            return None
        return self._put(
            f"keep versions in {self.name}",
            self._s3.put_bucket_versioning,
            VersioningConfiguration={"Status": "Enabled"},
        )

    def _tag(self, wanted: dict[str, str]) -> Callable[[], object] | None:
        now = self._read(lambda: self._s3.get_bucket_tagging(**self._which))
        tags = {tag["Key"]: tag["Value"] for tag in now.get("TagSet", [])}
        if wanted.items() <= tags.items():
            return None
        tag_set: Any = project_tags.to_aws({**tags, **wanted})
        return self._put(f"tag {self.name}", self._s3.put_bucket_tagging, Tagging={"TagSet": tag_set})

    def _put(self, doing: str, call: Callable[..., object], **setting: Any) -> Callable[[], object]:
        """The call that makes a setting, to be made later."""

        def put() -> None:
            with calling(doing):
                call(**setting, **self._which)

        return put

    def _read(self, get: Callable[[], Any]) -> dict[str, Any]:
        """A setting as S3 has it; nothing where it was never made."""
        try:
            with calling(f"read the settings of {self.name}"):
                return dict(get())
        except AwsError as error:
            if error.code in _UNSET:
                return {}
            raise
