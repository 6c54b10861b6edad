"""How a client reaches a rehearsal: its address, AWS credentials, and the token of the control API.

All three are made at random by each rehearsal and are never in an argument of a process. They are handed on by a ready
file that only its owner can read, or by the environment of a process.
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

from rehearsal.whole_files import write_whole

TOKEN_VARIABLE = "TORCHNEURON_REHEARSAL_TOKEN"
"""Where the token is handed on to people's shells, beside AWS's own variables."""

_ID_LETTERS = string.ascii_uppercase + "234567"
_TIMEOUT = 60


class AccessError(Exception):
    """A ready file can't be trusted; the message says why."""


def random_key_id(prefix: str) -> str:
    """An access key id of AWS's form: IAM user guide, "IAM identifiers" (unique ID prefixes)."""
    return prefix + "".join(secrets.choice(_ID_LETTERS) for _ in range(16))


@dataclass(frozen=True)
class Access:
    """The address of a rehearsal and what it asks of its clients. Whoever has it can run commands on every host."""

    endpoint: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)

    @classmethod
    def generate(cls, endpoint: str) -> Access:
        """New credentials and a new token."""
        return cls(endpoint, random_key_id("AKIA"), secrets.token_urlsafe(30), secrets.token_urlsafe(32))

    @classmethod
    def from_ready_file(cls, path: Path) -> Access:
        """What a rehearsal wrote to its `--ready-file`.

        AccessError for a file that another user wrote, or that others can read or write.
        """
        with path.open(encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise AccessError(f"{path} is not a file that you alone can read and write")
            read = json.load(file)
        return cls(*(str(read[name]) for name in ("endpoint", "access_key_id", "secret_access_key", "token")))

    def write_ready_file(self, path: Path) -> None:
        """Tell whoever waits for `path` that this process serves. Readable by this user only."""
        write_whole(path, f"{json.dumps({**asdict(self), 'pid': os.getpid()})}\n".encode(), mode=0o600)

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that lead AWS's clients here."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }

    def control(self, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the control API: GET without a body, else POST. Raises urllib's HTTPError for what it refuses."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.endpoint}/_rehearsal/{what}", data, headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            read: dict[str, Any] = json.load(answer)
            return read

    def client(self, service: str, region: str, *, retries: bool = True) -> Any:
        """A boto3 client for this AWS, whatever this process's environment says."""
        return boto3.client(
            service,  # type: ignore[call-overload] # any service
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=None if retries else ClientConfig(retries={"total_max_attempts": 1}),
        )
