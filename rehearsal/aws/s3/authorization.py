"""The permissions that calls to S3 need, and bucket policies about plain HTTP.

Sources
-------
- Actions whose name differs from the operation's: S3 user guide, "Required permissions for Amazon S3 API operations".
- `aws:ResourceAccount` is the account that owns the bucket, `aws:SecureTransport` false for plain HTTP: IAM user guide,
  "AWS global condition context keys". That the owner of a bucket that does not exist is the caller is assumed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket, s3_backends

from rehearsal.aws.iam.api_calls import ApiCall
from rehearsal.aws.iam.policies import Request, as_list
from rehearsal.aws.iam.principals import PARTITION

_ACTIONS: Mapping[str, str] = {
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteObjects": "DeleteObject",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBuckets": "ListAllMyBuckets",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "UploadPart": "PutObject",
}
_VERSIONED = ("GetObject", "HeadObject", "DeleteObject")
_SECURE_TRANSPORT = "aws:SecureTransport"


def required_permissions(call: ApiCall) -> list[Request]:
    """DeleteObjects needs the permission for all objects of the bucket."""
    bucket, key = call.parameters.get("Bucket"), call.parameters.get("Key")
    action = _ACTIONS.get(call.operation, call.operation)
    if call.operation in _VERSIONED and call.parameters.get("VersionId"):
        action += "Version"
    if bucket is None:
        return [call.request("*", action=f"s3:{action}")]
    if call.operation == "DeleteObjects":
        key = "*"
    resource = f"{bucket}/{key}" if key else bucket
    context = {} if call.operation == "CreateBucket" else {"aws:ResourceAccount": _owner(call, bucket)}
    return [call.request(call.arn(resource, region="", account=""), context, action=f"s3:{action}")]


def _owner(call: ApiCall, bucket: str) -> str:
    for account, partitions in list(s3_backends.items()):
        if bucket in partitions[PARTITION].buckets:
            return str(account)
    return call.account


def treat_loopback_as_secure() -> None:
    """Ignore statements of bucket policies that apply to plain HTTP only.

    Refusing plain HTTP is good practice, and a rehearsal is plain HTTP, but nothing leaves this machine. moto does not
    know the condition, denies whatever has it, and has no hook: this replaces a method of its bucket class.
    """
    FakeBucket.get_permission = _bucket_permission


def _bucket_permission(bucket: FakeBucket, action: str, resource: str) -> Any:
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    document = json.loads(bucket.policy)
    document["Statement"] = [
        statement for statement in as_list(document["Statement"]) if not _is_for_plain_http(statement)
    ]
    return IAMPolicy(json.dumps(document)).is_action_permitted(action, resource)


def _is_for_plain_http(statement: dict[str, Any]) -> bool:
    return any(
        str(value).lower() == "false"
        for operator in statement.get("Condition", {}).values()
        for key, value in operator.items()
        if key == _SECURE_TRANSPORT
    )
