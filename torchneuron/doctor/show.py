"""What the checks found, for people and for programs.

The JSON is one object: `ready` says whether nothing that is needed is missing; `checks` are in the order of the table,
each with `name`, `found`, `verdict` (`ok`, `warning` or `missing`) and `remedy`, which may have several lines.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from torchneuron.doctor.finding import Finding, Verdict, missing

FORMS = ("table", "json")


def as_json(findings: Sequence[Finding]) -> str:
    checks = [dataclasses.asdict(one) for one in findings]
    return json.dumps({"ready": not missing(findings), "checks": checks}, indent=2, ensure_ascii=False)


def plain(findings: Sequence[Finding]) -> str:
    """The same in plain lines, for a machine that lacks what tables are made with."""
    lines = [f"{one.name}: {one.verdict.value}: {one.found}" for one in findings]
    return "\n".join([*lines, *remedies(findings)])


def table(findings: Sequence[Finding]) -> None:
    """A row for each check; below, in lines that can be copied whole, the remedies."""
    from torchneuron.core import display  # here, because `plain` is for where it cannot be imported

    display.table(["check", "verdict", "found"], [(one.name, one.verdict.value, one.found) for one in findings])
    for line in remedies(findings):
        display.say(line)


def remedies(findings: Sequence[Finding]) -> list[str]:
    """What to do about everything that is not well, a block of lines each."""
    lines = []
    for one in findings:
        if one.verdict is not Verdict.OK:
            lines += ["", f"{one.name} ({one.verdict.value})", *(f"  {line}" for line in one.remedy.splitlines())]
    return lines
