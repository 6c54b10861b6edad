"""S3 as moto has it, but for one rule: what a bucket policy says of transport.

A bucket that refuses plain HTTP (`aws:SecureTransport` is false) is good practice, and a rehearsal
is plain HTTP. Loopback stands in for TLS here: nothing leaves this machine. moto does not know the
condition and denies whatever has one, so a statement about it is left out of the evaluation.
Source: IAM user guide, "AWS global condition context keys", aws:SecureTransport.
"""

from __future__ import annotations

import json
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket

_KEY = "aws:SecureTransport"


def count_loopback_as_secure() -> None:
    """Have every bucket evaluate its policy so. moto offers no seam here: its bucket class gets our method."""
    FakeBucket.get_permission = _permission


def _permission(bucket: FakeBucket, action: str, resource: str) -> Any:
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    document = json.loads(bucket.policy)
    statements = document["Statement"]
    document["Statement"] = [
        one for one in (statements if isinstance(statements, list) else [statements]) if not _is_about_transport(one)
    ]
    return IAMPolicy(json.dumps(document)).is_action_permitted(action, resource)


def _is_about_transport(statement: dict[str, Any]) -> bool:
    """Whether the statement applies to requests without TLS only."""
    values = [
        value for operator in statement.get("Condition", {}).values() for key, value in operator.items() if key == _KEY
    ]
    return any(str(value).lower() == "false" for value in values)
