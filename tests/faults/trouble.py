"""Faults of AWS and the network, drawn at random for some operations, and how many of them struck."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rehearsal.scenarios.sandbox import Sandbox

THROTTLED = {"ec2": ("RequestLimitExceeded", 503), "s3": ("SlowDown", 503), "iam": ("Throttling", 400)}
# Lookups are repeated by the client itself: only those that fail six times in a row are seen by anything else.
TIMES = (1, 1, 2, 3, 7)
_KINDS = ("lost-before", "lost-after", "server-error", "server-error-after", "bad-gateway-after", "error", "delay")


class Trouble:
    """The faults of one run: `operations` are as `service:Operation`.

    Each operation has some at `odds`, which strike at most so many times: all trouble ends.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        chance: random.Random,
        operations: Sequence[str],
        odds: float,
        times: Sequence[int] = TIMES,
    ) -> None:
        self._sandbox = sandbox
        rules = [_fault(chance, one, times) for one in operations for _ in range(2) if chance.random() < odds]
        chance.shuffle(rules)
        self._given = rules
        sandbox.control("faults", {"faults": rules})

    def end(self) -> Counter[str]:
        """Let nothing fail any more; how many faults of each kind there were."""
        left = self._sandbox.control("faults")["faults"]
        self._sandbox.control("faults", {"faults": []})
        total = Counter(dict.fromkeys(_KINDS, 0))
        for rule in self._given:
            total[_name(rule)] += rule["times"]
        for rule in left:
            total[_name(rule)] -= rule["times"]
        self._given = []
        return +total


def _name(rule: Mapping[str, Any]) -> str:
    return "throttled" if rule["kind"] == "error" else str(rule["kind"])


def _fault(chance: random.Random, operation: str, times: Sequence[int]) -> dict[str, Any]:
    kind = chance.choice(_KINDS)
    rule: dict[str, Any] = {
        "operation": operation,
        "kind": kind,
        "times": chance.choice(times),
        "skip": chance.choice((0, 0, 1, 4)),
        "probability": chance.choice((0.3, 0.6, 1)),
    }
    if kind == "error":
        code, status = THROTTLED.get(operation.partition(":")[0], ("ThrottlingException", 400))
        rule |= {"code": code, "message": "Rate exceeded", "status": status}
    if kind == "delay":
        rule["seconds"] = round(chance.uniform(0.1, 1.5), 2)
    return rule
