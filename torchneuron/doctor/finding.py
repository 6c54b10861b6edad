"""What one check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """`WARNING` is for what some people, or some commands, do well without."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """One check: its name, what was found, the verdict, and what to do where that is not OK."""

    name: str
    found: str
    verdict: Verdict
    remedy: str = ""


def missing(findings: Iterable[Finding]) -> list[str]:
    """The names of what is needed and not there."""
    return [one.name for one in findings if one.verdict is Verdict.MISSING]
