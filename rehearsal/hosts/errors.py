"""The error of everything that hosts consist of."""

from __future__ import annotations


class HostError(Exception):
    """A host could not be booted, entered or reached.

    `what` happened, `why`, and what to do about it (`remedy`); `str()` gives all three.
    """

    def __init__(self, what: str, *, why: str, remedy: str) -> None:
        super().__init__(f"{what}: {why}\n{remedy}")
        self.what = what
        self.why = why
        self.remedy = remedy
