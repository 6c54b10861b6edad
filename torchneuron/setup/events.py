"""A run as JSON events on standard output, one object a line, for programs.

Every event has `event` and `at` (UTC, ISO 8601). Which events there are, and what is in them, stands here alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from torchneuron.core import display
from torchneuron.setup.monitor import Outcome
from torchneuron.setup.plan import Plan
from torchneuron.setup.steps import StepStatus


class Events:
    """`planned`, `sent` or `attached`, `task` (at each change), `note`, `ended` (once a machine)."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], str] = {}

    def planned(self, plans: Mapping[str, Plan]) -> None:
        for instance_id, plan in plans.items():
            tasks = [{"id": step.task.id, "runs": step.runs, "reason": step.reason} for step in plan.steps]
            _emit("planned", instanceId=instance_id, tasks=tasks)

    def sent(self, command_id: str, instance_ids: Sequence[str], *, attached: bool) -> None:
        _emit("attached" if attached else "sent", commandId=command_id, instanceIds=list(instance_ids))

    def progress(self, instance_id: str, steps: Sequence[StepStatus]) -> None:
        for step in steps:
            if self._told.get((instance_id, step.task)) == step.word:
                continue
            self._told[instance_id, step.task] = step.word
            _emit(
                "task",
                instanceId=instance_id,
                task=step.task,
                status=step.word.value.lower(),
                exitCode=step.exit_code if step.word.ended else None,
                seconds=step.seconds,
                lastLine=step.last_line,
            )

    def told(self, text: str) -> None:
        _emit("note", text=text)

    def ended(self, outcome: Outcome) -> None:
        failure = outcome.failure
        _emit(
            "ended",
            instanceId=outcome.instance_id,
            succeeded=failure is None,
            ran=list(outcome.ran),
            skipped=list(outcome.skipped),
            leftOut=list(outcome.left_out),
            failedOptional=list(outcome.failed_optional),
            failure=failure and {"what": failure.what, "why": failure.why, "do": failure.do},
        )


def _emit(event: str, **more: Any) -> None:
    at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    display.say(json.dumps({"event": event, "at": at, **more}))
