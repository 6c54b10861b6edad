"""The access keys that a rehearsal knows: its own, those it has issued, and those that others have registered."""

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
    """`session_token`: of temporary credentials; requests have to carry it. "" for a long-term key, which has none.

    `issued_to`: the id of the key whose owner's session it is; it is known only as long as that one is.
    `until`: when it expires; None for never.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    issued_to: str = ""
    until: datetime | None = None


class AccessKeys:
    """Which keys requests may be signed with. Safe to use from any thread."""

    def __init__(self, now: Callable[[], datetime], *keys: AccessKey) -> None:
        """`now`: the time by which keys expire."""
        self.now = now
        self._lock = threading.Lock()
        self._registered = {key.access_key_id: key for key in keys}

    def register(self, key: AccessKey) -> None:
        """Accept one more key, such as an instance role's; in place of one with the same id."""
        with self._lock:
            self._registered[key.access_key_id] = key

    def find(self, access_key_id: str) -> AccessKey | None:
        """The key of this id; None for one that is unknown, inactive, deleted or expired."""
        with self._lock:
            registered = self._registered.get(access_key_id)
        if registered is None:
            return _issued_by_moto(access_key_id)
        has_expired = registered.until is not None and self.now() >= registered.until
        has_owner = not registered.issued_to or self.is_known(registered.issued_to)
        return registered if has_owner and not has_expired else None

    def owner(self, access_key_id: str) -> str:
        """The id of the key whose owner's permissions this key has: itself, but for a session of GetSessionToken."""
        key = self.find(access_key_id)
        return (key and key.issued_to) or access_key_id

    def is_known(self, access_key_id: str) -> bool:
        return self.find(access_key_id) is not None


def _issued_by_moto(access_key_id: str) -> AccessKey | None:
    """A key of CreateAccessKey or of STS's AssumeRole: moto keeps both with IAM, and the session's token with STS."""
    for account, partitions in list(iam_backends.items()):
        for partition, backend in list(partitions.items()):
            found = backend.access_keys.get(access_key_id)
            if found is None or found.status != "Active":
                continue
            if found.user_name is not None:
                return AccessKey(found.access_key_id, found.secret_access_key)
            session: Any = sts_backends[account][partition].get_assumed_role_from_access_key(access_key_id)
            return session and AccessKey(found.access_key_id, found.secret_access_key, session.session_token)
    return None
