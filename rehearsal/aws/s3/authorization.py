"""Which actions S3 checks for a request, on which buckets and objects.

Sources
-------
- Actions that have another name than their operation: S3 user guide, "Required permissions for Amazon S3 API
  operations".
- `aws:ResourceAccount` is the account that owns the bucket: IAM user guide, "AWS global condition context keys". That
  it is the caller's for a bucket that does not exist is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping

from moto.s3.models import s3_backends

from rehearsal.aws.iam.access import Call
from rehearsal.aws.iam.policies import Request
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
_OF_VERSIONS = ("GetObject", "HeadObject", "DeleteObject")


def requests(call: Call) -> list[Request]:
    """What is checked for a call to S3. Several objects are deleted by permission for all of the bucket's."""
    bucket, key = call.parameters.get("Bucket"), call.parameters.get("Key")
    action = _ACTIONS.get(call.operation, call.operation)
    if call.operation in _OF_VERSIONS and call.parameters.get("VersionId"):
        action += "Version"
    if bucket is None:
        return [call.on("*", action=f"s3:{action}")]
    if call.operation == "DeleteObjects":
        key = "*"
    resource = f"{bucket}/{key}" if key else bucket
    owner = {} if call.operation == "CreateBucket" else {"aws:ResourceAccount": _owner(call, bucket)}
    return [call.on(call.arn(resource, region="", account=""), owner, action=f"s3:{action}")]


def _owner(call: Call, bucket: str) -> str:
    for account, partitions in list(s3_backends.items()):
        if bucket in partitions[PARTITION].buckets:
            return str(account)
    return call.account
