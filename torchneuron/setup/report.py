"""Display a run as plain lines (for logs and pipes) or JSON events (for programs); its summary, and a dry run.

Tables for terminals are in `live`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from torchneuron.core import display
from torchneuron.core.text import quoted
from torchneuron.setup.document import STEP
from torchneuron.setup.failures import summary
from torchneuron.setup.live import live_monitor
from torchneuron.setup.plan import Plan
from torchneuron.setup.steps import Monitor, Outcome, StepState, StepStatus

FORMS = ("table", "json")


class Lines:
    """A line for each change. With several machines, each line names its machine."""

    def __init__(self) -> None:
        self._reported: set[tuple[str, str, StepState]] = set()
        self._totals: dict[str, int] = {}
        self._done: dict[str, int] = {}

    def planned(self, plans: Mapping[str, Plan]) -> None:
        for instance_id, plan in plans.items():
            skipped = [step for step in plan.steps if not step.runs]
            self._totals[instance_id], self._done[instance_id] = len(plan.steps), len(skipped)
            if len(plans) > 1:
                display.note(f"  {instance_id}: {len(plan.pending)} tasks to run, {len(skipped)} skipped")
                continue
            # Steps of a command that this run attached to have been reported.
            reported = {task for reported_id, task, _ in self._reported if reported_id == instance_id}
            for step in skipped:
                if step.task.id not in reported:
                    display.note(f"  {step.task.id:<34} skipped ({step.reason})")

    def sent(self, command_id: str, instance_ids: Sequence[str], *, attached: bool) -> None:
        where = "" if len(instance_ids) == 1 else f" to {summary(instance_ids)}"
        verb = "Attached to the setup under way:" if attached else f"Sent{where} as"
        display.note(f"{verb} SSM command {command_id}")

    def progress(self, instance_id: str, steps: Sequence[StepStatus]) -> None:
        several = len(self._totals) > 1
        for step in steps:
            key = (instance_id, step.task, step.state)
            if not step.state.is_terminal or step.state is StepState.NOT_RUN or key in self._reported:
                continue
            self._reported.add(key)
            count = self._count(instance_id)
            seconds = "" if step.seconds is None else f"{step.seconds:6.1f} s"
            machine = f"{instance_id} " if several else ""
            line = f"  {machine}{count}{step.task:<32} {step.state.value:<8} {seconds}  {step.last_line}"
            display.note(line.rstrip())

    def _count(self, instance_id: str) -> str:
        if not (total := self._totals.get(instance_id, 0)):
            return ""
        self._done[instance_id] = min(self._done[instance_id] + 1, total)
        return f"[{self._done[instance_id]:>2}/{total}] "

    def note(self, text: str) -> None:
        display.note(text)

    def ended(self, outcome: Outcome) -> None:
        if len(self._totals) > 1:
            display.note(f"  {outcome.instance_id} {'FAILED' if outcome.failure else 'is set up'}")


class Events:
    """A JSON object on a line of standard output for each event.

    Each has `event` and `at` (UTC, ISO 8601). Events: `planned`, `sent` or `attached`, `task` (at each change), `note`,
    `ended` (for each machine).
    """

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], StepState] = {}

    def planned(self, plans: Mapping[str, Plan]) -> None:
        for instance_id, plan in plans.items():
            tasks = [{"id": step.task.id, "runs": step.runs, "reason": step.reason} for step in plan.steps]
            _emit("planned", instanceId=instance_id, tasks=tasks)

    def sent(self, command_id: str, instance_ids: Sequence[str], *, attached: bool) -> None:
        _emit("attached" if attached else "sent", commandId=command_id, instanceIds=list(instance_ids))

    def progress(self, instance_id: str, steps: Sequence[StepStatus]) -> None:
        for step in steps:
            if self._states.get((instance_id, step.task)) == step.state:
                continue
            self._states[instance_id, step.task] = step.state
            _emit(
                "task",
                instanceId=instance_id,
                task=step.task,
                status=step.state.value.lower(),
                exitCode=step.exit_code if step.state.is_terminal else None,
                seconds=step.seconds,
                lastLine=step.last_line,
            )

    def note(self, text: str) -> None:
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


@contextmanager
def monitor(form: str, instance_ids: Sequence[str]) -> Iterator[Monitor]:
    """The monitor for a form of output (one of `FORMS`) and for what standard error is."""
    if form == "json":
        yield Events()
    elif display.console(stderr=True).is_terminal:
        with live_monitor(several=len(instance_ids) > 1) as live:
            yield live
    else:
        yield Lines()


def show_outcomes(outcomes: Sequence[Outcome], seconds: float, region: str) -> None:
    """Show the summary of a run without failures."""
    for outcome in outcomes:
        for task in outcome.failed_optional:
            display.warn(
                f"{task} failed on {outcome.instance_id}. It is optional: the run went on, and the next run tries it"
                f" again. For its output: invoke setup.logs {quoted(task)} -i {quoted(outcome.instance_id)} -r {region}"
            )
    ran = max(len(outcome.ran) for outcome in outcomes)
    skipped = min(len(outcome.skipped) for outcome in outcomes)
    left_out = len(outcomes[0].left_out)
    done = "Done" if left_out else "Setup complete"
    where = "" if len(outcomes) == 1 else f" on {len(outcomes)} machines"
    before = (f", {skipped} already finished" if skipped else "") + (f", {left_out} left out" if left_out else "")
    display.note(f"{done}{where}: {ran} {'task' if ran == 1 else 'tasks'} run{before}, {seconds:.0f} s.")


def show_dry_run(plans: Sequence[tuple[Sequence[str], Plan]], *, mode: str, syntax: str) -> None:
    """Show each script exactly as it would run, and the calls to AWS. Each plan is for the instances beside it."""
    pending = 0
    for instance_ids, plan in plans:
        if len(plans) > 1:
            display.say(f"===== {', '.join(instance_ids)}")
        scripts = {task.id: script for task, script in plan.scripts()}
        pending += len(scripts)
        for step in plan.steps:
            if step.runs:
                display.say(f"----- {step.task.id}: would run ({step.reason})")
                display.say(scripts[step.task.id].rstrip("\n"))
            else:
                display.say(f"----- {step.task.id}: would be skipped ({step.reason})")
    if not pending:
        display.say("----- Nothing to do.")
        return
    display.say(f"----- {syntax}")
    machines = ", ".join(instance_id for instance_ids, _ in plans for instance_id in instance_ids)
    sending = f"SendCommand to {machines}"
    if mode == STEP:
        calls = f"{sending} (AWS-RunShellScript) for each task, and ListCommandInvocations once a second"
    else:
        calls = f"CreateDocument, {sending}, then ListCommandInvocations once a second"
    display.say(f"----- Dry run: nothing was sent. A run would call {calls}.")
