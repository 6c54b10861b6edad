"""Which IAM actions AWS would have checked for what a command asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torchneuron.doctor import permissions

Counts = Mapping[str, Mapping[str, int]]

# Operations that IAM knows under another name (Service Authorization Reference, Amazon S3).
OTHERWISE = {
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
NEEDS_NONE = {"sts:GetCallerIdentity"}


def asked(counts: Callable[[], Counts], command: Callable[[], object]) -> set[str]:
    """The actions behind what was asked while `command` ran. `counts` is the rehearsal's `GET calls`."""
    before = counts()
    command()
    operations = {
        f"{service}:{operation}"
        for service, times in counts().items()
        for operation, count in times.items()
        if count > before.get(service, {}).get(operation, 0)
    }
    return {OTHERWISE.get(operation, operation) for operation in operations - NEEDS_NONE}


def allowed(command: str) -> set[str]:
    """The actions that the policy of a command allows."""
    return {action for grant in permissions.NEEDED[command] for action in grant.actions}
