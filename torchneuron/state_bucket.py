"""The S3 bucket Terraform's state lives in: made once, and put right again by the same command.

Encrypted by S3's own keys (SSE-S3), not by KMS: the state holds no secret (the password is an ephemeral
value), and a KMS key would cost money and need a permission of its own for every person and every CI run
that plans. A bucket someone has given KMS encryption keeps it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchneuron import display, marks
from torchneuron.aws_errors import calling
from torchneuron.config import Config, save_state_bucket
from torchneuron.errors import AwsError, InputError

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
    bucket = _Bucket(s3, name, region, account)
    created = bucket.create_unless_there()
    region = bucket.region
    changed = tuple(setting for setting, apply in bucket.settings(config.project_name) if apply())
    saved = (named, config.backend.get("region")) != (name, region)
    if saved:
        save_state_bucket(config, name, region)
    return BucketReport(name, region, created, changed, saved)


def show(report: BucketReport) -> None:
    """The result, for a person."""
    state = "made" if report.created else "was there"
    display.say(f"State bucket {report.name} in {report.region}: {state}.")
    display.say(f"Set: {', '.join(report.changed)}." if report.changed else "All its settings were right.")
    if report.settings_saved:
        display.say("Its name is in the settings now: invoke deploy and cdktf deploy will use it.")


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

    def __init__(self, s3: S3Client, name: str, region: str, account: str) -> None:
        self._s3 = s3
        self.region = region
        self._account = account
        self.name = name
        self._which: Any = {"Bucket": name, "ExpectedBucketOwner": account}

    def create_unless_there(self) -> bool:
        """Whether the bucket had to be made. Raises InputError when it is somebody else's."""
        if self._exists():
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

    def settings(self, project: str) -> tuple[tuple[str, Callable[[], bool]], ...]:
        """What the bucket must have, each with the function that sees to it and says whether it had to."""
        return (
            ("public access blocked", self._block_public_access),
            ("access by policy only, no ACLs", self._enforce_ownership),
            ("TLS only", self._refuse_plain_http),
            ("encrypted", self._encrypt),
            ("versioned", self._keep_versions),
            ("tagged", lambda: self._tag(marks.of(project))),
        )

    def _exists(self) -> bool:
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

    def _block_public_access(self) -> bool:
        now = self._read(lambda: self._s3.get_public_access_block(**self._which))
        if now.get("PublicAccessBlockConfiguration") == _BLOCKED:
            return False
        with calling(f"block public access to {self.name}"):
            self._s3.put_public_access_block(PublicAccessBlockConfiguration=_BLOCKED, **self._which)
        return True

    def _enforce_ownership(self) -> bool:
        rules: Any = [{"ObjectOwnership": "BucketOwnerEnforced"}]
        now = self._read(lambda: self._s3.get_bucket_ownership_controls(**self._which))
        if now.get("OwnershipControls", {}).get("Rules") == rules:
            return False
        with calling(f"turn ACLs off for {self.name}"):
            self._s3.put_bucket_ownership_controls(OwnershipControls={"Rules": rules}, **self._which)
        return True

    def _refuse_plain_http(self) -> bool:
        """Add our statement to the bucket's policy, leaving those others have written."""
        now = self._read(lambda: self._s3.get_bucket_policy(**self._which))
        policy = json.loads(now.get("Policy", '{"Version": "2012-10-17", "Statement": []}'))
        ours = self._tls_statement()
        if ours in policy["Statement"]:
            return False
        others = [statement for statement in policy["Statement"] if statement.get("Sid") != _TLS_ONLY]
        policy["Statement"] = [*others, ours]
        with calling(f"write the policy of {self.name}"):
            self._s3.put_bucket_policy(Policy=json.dumps(policy), **self._which)
        return True

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

    def _encrypt(self) -> bool:
        """Any encryption the bucket has is kept, KMS included."""
        now = self._read(lambda: self._s3.get_bucket_encryption(**self._which))
        if now.get("ServerSideEncryptionConfiguration", {}).get("Rules"):
            return False
        rule: Any = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        with calling(f"encrypt {self.name}"):
            self._s3.put_bucket_encryption(ServerSideEncryptionConfiguration={"Rules": [rule]}, **self._which)
        return True

    def _keep_versions(self) -> bool:
        now = self._read(lambda: self._s3.get_bucket_versioning(**self._which))
        if now.get("Status") == "Enabled":
            return False
        with calling(f"keep versions in {self.name}"):
            self._s3.put_bucket_versioning(VersioningConfiguration={"Status": "Enabled"}, **self._which)
        return True

    def _tag(self, wanted: dict[str, str]) -> bool:
        now = self._read(lambda: self._s3.get_bucket_tagging(**self._which))
        tags = {tag["Key"]: tag["Value"] for tag in now.get("TagSet", [])}
        if wanted.items() <= tags.items():
            return False
        tag_set: Any = marks.listed({**tags, **wanted})
        with calling(f"tag {self.name}"):
            self._s3.put_bucket_tagging(Tagging={"TagSet": tag_set}, **self._which)
        return True

    def _read(self, get: Callable[[], Any]) -> dict[str, Any]:
        """A setting as S3 has it; nothing where it was never made."""
        try:
            with calling(f"read the settings of {self.name}"):
                return dict(get())
        except AwsError as error:
            if error.code in _UNSET:
                return {}
            raise
