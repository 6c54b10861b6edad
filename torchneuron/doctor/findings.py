"""The results of checks, as JSON and as text.

The JSON is an object: `ready` is false if anything required is missing, and `checks` has, in the order of the table,
`name`, `found`, `verdict` (`ok`, `warning` or `missing`) and `remedy`, which may have several lines.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

FORMATS = ("table", "json")


class Verdict(str, Enum):
    """`WARNING` is for what some commands, or some people, can do without."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """The result of one check; `remedy` is empty if the verdict is OK."""

    name: str
    found: str
    verdict: Verdict
    remedy: str = ""


def missing(findings: Iterable[Finding]) -> list[str]:
    """The names of findings that are required and missing."""
    return [finding.name for finding in findings if finding.verdict is Verdict.MISSING]


def as_json(findings: Sequence[Finding]) -> str:
    checks = [dataclasses.asdict(finding) for finding in findings]
    return json.dumps({"ready": not missing(findings), "checks": checks}, indent=2, ensure_ascii=False)


def as_text(findings: Sequence[Finding]) -> str:
    """Plain lines, for a machine without the package that prints tables."""
    lines = [f"{finding.name}: {finding.verdict.value}: {finding.found}" for finding in findings]
    return "\n".join([*lines, *remedies(findings)])


def remedies(findings: Sequence[Finding]) -> list[str]:
    """A block of lines, to print after the findings, for each that is not OK."""
    lines = []
    for finding in findings:
        if finding.verdict is not Verdict.OK:
            remedy = [f"  {line}" for line in finding.remedy.splitlines()]
            lines += ["", f"{finding.name} ({finding.verdict.value})", *remedy]
    return lines
