"""Random faults of AWS and the network, and counts of those that occurred."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rehearsal.scenarios.sandbox import Sandbox

THROTTLED = {"ec2": ("RequestLimitExceeded", 503), "s3": ("SlowDown", 503), "iam": ("Throttling", 400)}
# The client retries lookups itself: only six failures in a row reach the command.
TIMES = (1, 1, 2, 3, 7)
_KINDS = ("lost-before", "lost-after", "server-error", "server-error-after", "bad-gateway-after", "error", "delay")


class FaultInjection:
    """The faults of one run, for some of the `operations` (`service:Operation`).

    Each operation gets a fault with probability `odds`, twice. `times` are the choices for how often a fault occurs.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        rng: random.Random,
        operations: Sequence[str],
        odds: float,
        times: Sequence[int] = TIMES,
    ) -> None:
        self._sandbox = sandbox
        rules = [_fault(rng, operation, times) for operation in operations for _ in range(2) if rng.random() < odds]
        rng.shuffle(rules)
        self._rules = rules
        sandbox.control("faults", {"faults": rules})

    def end(self) -> Counter[str]:
        """Remove all faults; returns how many of each kind occurred."""
        left = self._sandbox.control("faults")["faults"]
        self._sandbox.control("faults", {"faults": []})
        total = Counter(dict.fromkeys(_KINDS, 0))
        for rule in self._rules:
            total[_name(rule)] += rule["times"]
        for rule in left:
            total[_name(rule)] -= rule["times"]
        self._rules = []
        return +total


def _name(rule: Mapping[str, Any]) -> str:
    return "throttled" if rule["kind"] == "error" else str(rule["kind"])


def _fault(rng: random.Random, operation: str, times: Sequence[int]) -> dict[str, Any]:
    kind = rng.choice(_KINDS)
    rule: dict[str, Any] = {
        "operation": operation,
        "kind": kind,
        "times": rng.choice(times),
        "skip": rng.choice((0, 0, 1, 4)),
        "probability": rng.choice((0.3, 0.6, 1)),
    }
    if kind == "error":
        code, status = THROTTLED.get(operation.partition(":")[0], ("ThrottlingException", 400))
        rule |= {"code": code, "message": "Rate exceeded", "status": status}
    if kind == "delay":
        rule["seconds"] = round(rng.uniform(0.1, 1.5), 2)
    return rule
