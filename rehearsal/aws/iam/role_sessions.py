"""The credentials that instances get for their roles: sessions of moto's STS, good for what the role allows.

What they allow is `authorization`'s to say, and whether a request is signed with them `authentication`'s.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from rehearsal.aws.iam.access_keys import AccessKey, AccessKeys
from rehearsal.aws.iam.principals import PARTITION

_LIFETIME = timedelta(hours=6)


def issue(keys: AccessKeys, account: str, instance_id: str, region: str, role: Any) -> dict[str, str]:
    """New credentials for `role`, known to `keys`, as instance metadata shows them."""
    now = keys.now()
    made = sts_backends[account][PARTITION].assume_role(
        region_name=region,
        role_session_name=instance_id,
        role_arn=role.arn,
        policy=None,
        duration=int(_LIFETIME.total_seconds()),
        external_id=None,
    )
    key = AccessKey(made.access_key_id, made.secret_access_key, made.session_token, until=now + _LIFETIME)
    keys.register(key)
    return {
        "Code": "Success",
        "LastUpdated": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "Type": "AWS-HMAC",
        "AccessKeyId": key.access_key_id,
        "SecretAccessKey": key.secret_access_key,
        "Token": key.session_token,
        "Expiration": f"{key.until:%Y-%m-%dT%H:%M:%SZ}",
    }


def role_of(instance: Any, account: str) -> Any:
    """The role in an instance's profile, as moto has it; None without one."""
    profile = (instance.iam_instance_profile or {}).get("Arn")
    profiles = iam_backends[account][PARTITION].instance_profiles.values()
    return next((role for one in profiles if one.arn == profile for role in one.roles), None) if profile else None
