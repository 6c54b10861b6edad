"""Access to a rehearsal: its address, AWS credentials, and the token of the control API.

Each rehearsal generates these at random. Clients get them from a ready file that only its owner can read or from
environment variables, never from process arguments.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import string
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as ClientConfig

from rehearsal.atomic_files import write_atomically

TOKEN_VARIABLE = "TORCHNEURON_REHEARSAL_TOKEN"
"""The environment variable of the token, next to AWS's own variables."""

_ID_LETTERS = string.ascii_uppercase + "234567"
_TIMEOUT = 60


class AccessError(Exception):
    """A ready file can't be trusted."""


def random_key_id(prefix: str) -> str:
    """An access key id in AWS's format: IAM user guide, "IAM identifiers" (unique ID prefixes)."""
    return prefix + "".join(secrets.choice(_ID_LETTERS) for _ in range(16))


@dataclass(frozen=True)
class Access:
    """The address and credentials of a rehearsal. They allow running commands on every host."""

    endpoint: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)

    @classmethod
    def generate(cls, endpoint: str) -> Access:
        """Generate credentials and a token."""
        return cls(endpoint, random_key_id("AKIA"), secrets.token_urlsafe(30), secrets.token_urlsafe(32))

    @classmethod
    def from_ready_file(cls, path: Path) -> Access:
        """Read a rehearsal's `--ready-file`. AccessError when another user owns it or others can access it."""
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise AccessError(f"{path} is not a file that you alone can read and write")
            content = json.load(file)
        return cls(*(str(content[name]) for name in ("endpoint", "access_key_id", "secret_access_key", "token")))

    def write_ready_file(self, path: Path) -> None:
        """Write the ready file, which says that this process serves. Readable by this user only."""
        write_atomically(path, f"{json.dumps({**asdict(self), 'pid': os.getpid()})}\n".encode(), mode=0o600)

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables for AWS's clients."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }

    def control(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call the control API: GET without a body, else POST. Raises urllib's HTTPError for an error."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.endpoint}/_rehearsal/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            content: dict[str, Any] = json.load(response)
            return content

    def client(self, service: str, region: str, *, retries: bool = True) -> Any:
        """A boto3 client for this rehearsal, independent of the process's environment."""
        return boto3.client(
            service,  # type: ignore[call-overload] # any service
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=None if retries else ClientConfig(retries={"total_max_attempts": 1}),
        )
