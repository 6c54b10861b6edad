"""What is refused: by AWS, before it is known in which protocol the answer goes out, and by the control API."""

from __future__ import annotations


class AwsError(Exception):
    """Carries AWS's error code and message; the response classes write it in their service's form.

    `status`: of HTTP; 0 for that of the service's model.
    """

    def __init__(self, code: str, message: str, status: int = 0) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class SettingsError(ValueError):
    """The rehearsal can't be set that way through the control API; the message says why."""
