"""Errors that the rehearsal returns: AWS's, before they are written in a protocol, and those of the control API."""

from __future__ import annotations


class AwsError(Exception):
    """An error with AWS's code and message. `status`: of HTTP; 0 for the service model's."""

    def __init__(self, code: str, message: str, status: int = 0) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class SettingsError(ValueError):
    """Invalid settings in a request to the control API."""
