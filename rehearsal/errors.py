"""What is refused: by AWS, before it is known in which protocol the answer goes out, and by the control API."""

from __future__ import annotations


class AwsError(Exception):
    """Carries AWS's error code and message; the response classes write it in their service's form."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class SettingsError(ValueError):
    """The rehearsal can't be set that way through the control API; the message says why."""
