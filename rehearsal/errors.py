"""A request AWS would refuse, before it is known in which protocol the answer goes out."""

from __future__ import annotations


class AwsError(Exception):
    """Carries AWS's error code and message; the response classes write it in their service's form."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
