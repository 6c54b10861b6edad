"""The IAM actions that AWS checks for the API calls of a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torchneuron.doctor import permissions

Counts = Mapping[str, Mapping[str, int]]

# Operations whose action has another name (Service Authorization Reference, Amazon S3).
ACTION_NAMES = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjects": "s3:ListBucket",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
}
# STS API reference: "No permissions are required to perform this operation."
UNCHECKED = {"sts:GetCallerIdentity"}


def asked(counts: Callable[[], Counts], command: Callable[[], object]) -> set[str]:
    """The actions of the calls made while `command` ran. `counts` returns the rehearsal's call counts (`GET calls`)."""
    before = counts()
    command()
    operations = {
        f"{service}:{operation}"
        for service, times in counts().items()
        for operation, count in times.items()
        if count > before.get(service, {}).get(operation, 0)
    }
    return {ACTION_NAMES.get(operation, operation) for operation in operations - UNCHECKED}


def allowed(command: str) -> set[str]:
    """The actions that a command's policy allows."""
    return {action for grant in permissions.NEEDED[command] for action in grant.actions}
