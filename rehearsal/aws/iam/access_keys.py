"""The access keys that a rehearsal accepts: its own, and those it has issued."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends


@dataclass(frozen=True)
class AccessKey:
    """An access key and its secret.

    `session_token`: required in requests with temporary credentials; "" for a long-term key. `issued_to`: for a
    session of GetSessionToken, the id of the key that requested it, with which it becomes invalid. `expires`: None
    for never.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    issued_to: str = ""
    expires: datetime | None = None


class AccessKeys:
    """The keys that requests may be signed with. Thread-safe."""

    def __init__(self, now: Callable[[], datetime], *keys: AccessKey) -> None:
        """`now`: the clock by which keys expire."""
        self.now = now
        self._lock = threading.Lock()
        self._registered = {key.access_key_id: key for key in keys}

    def register(self, key: AccessKey) -> None:
        """Accept a key, such as an instance role's; it replaces a key with the same id."""
        with self._lock:
            self._registered[key.access_key_id] = key

    def find(self, access_key_id: str) -> AccessKey | None:
        """The key with this id; None when it is unknown, inactive, deleted or expired."""
        with self._lock:
            key = self._registered.get(access_key_id)
        if key is None:
            return _issued_by_moto(access_key_id)
        has_expired = key.expires is not None and self.now() >= key.expires
        has_owner = not key.issued_to or self.find(key.issued_to) is not None
        return key if has_owner and not has_expired else None

    def owner(self, access_key_id: str) -> str:
        """The id of the key whose permissions this key has: for a session of GetSessionToken, the requesting key's."""
        key = self.find(access_key_id)
        return (key and key.issued_to) or access_key_id


def _issued_by_moto(access_key_id: str) -> AccessKey | None:
    """A key from CreateAccessKey or AssumeRole: moto stores both in IAM, and the session's token in STS."""
    for account, partitions in list(iam_backends.items()):
        for partition, backend in list(partitions.items()):
            key = backend.access_keys.get(access_key_id)
            if key is None or key.status != "Active":
                continue
            if key.user_name is not None:
                return AccessKey(key.access_key_id, key.secret_access_key)
            session: Any = sts_backends[account][partition].get_assumed_role_from_access_key(access_key_id)
            return session and AccessKey(key.access_key_id, key.secret_access_key, session.session_token)
    return None
