"""Why a host is not there: the one error of everything that hosts are made of."""

from __future__ import annotations


class HostError(Exception):
    """A host could not be booted, entered or reached.

    Says what happened, why, and what to do about it; `str()` gives all three.
    """

    def __init__(self, what: str, *, why: str, remedy: str) -> None:
        super().__init__(f"{what}: {why}\n{remedy}")
        self.what = what
        self.why = why
        self.remedy = remedy
