"""What a person sees of a run: plain lines for logs and pipes, the summary at the end, and what a dry run shows.

Live tables for terminals are in `live`, events for programs in `events`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torchneuron.core import display
from torchneuron.core.text import quoted
from torchneuron.setup.document import STEP
from torchneuron.setup.events import Events
from torchneuron.setup.failures import named
from torchneuron.setup.live import live_monitor
from torchneuron.setup.monitor import Monitor, Outcome
from torchneuron.setup.plan import Plan
from torchneuron.setup.steps import StepStatus, Word

FORMS = ("table", "json")


class Lines:
    """One line for each change. With several machines, each line names its own."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, str]] = set()
        self._totals: dict[str, int] = {}
        self._done: dict[str, int] = {}

    def planned(self, plans: Mapping[str, Plan]) -> None:
        for instance_id, plan in plans.items():
            skipped = [step for step in plan.steps if not step.runs]
            self._totals[instance_id], self._done[instance_id] = len(plan.steps), len(skipped)
            if len(plans) > 1:
                display.note(f"  {instance_id}: {len(plan.pending)} tasks to run, {len(skipped)} skipped")
                continue
            # What was watched to its end just now needs no second line.
            watched = {task for one, task, _ in self._told if one == instance_id}
            for step in (one for one in skipped if one.task.id not in watched):
                display.note(f"  {step.task.id:<34} skipped ({step.reason})")

    def sent(self, command_id: str, instance_ids: Sequence[str], *, attached: bool) -> None:
        where = "" if len(instance_ids) == 1 else f" to {named(instance_ids)}"
        verb = "Attached to the setup under way:" if attached else f"Sent{where} as"
        display.note(f"{verb} SSM command {command_id}")

    def progress(self, instance_id: str, steps: Sequence[StepStatus]) -> None:
        several = len(self._totals) > 1
        for step in steps:
            key = (instance_id, step.task, step.word.value)
            if not step.word.ended or step.word is Word.NOT_RUN or key in self._told:
                continue
            self._told.add(key)
            place = self._place(instance_id)
            taken = "" if step.seconds is None else f"{step.seconds:6.1f} s"
            machine = f"{instance_id} " if several else ""
            line = f"  {machine}{place}{step.task:<32} {step.word.value:<8} {taken}  {step.last_line}"
            display.note(line.rstrip())

    def _place(self, instance_id: str) -> str:
        if not (total := self._totals.get(instance_id, 0)):
            return ""
        self._done[instance_id] = min(self._done[instance_id] + 1, total)
        return f"[{self._done[instance_id]:>2}/{total}] "

    def told(self, text: str) -> None:
        display.note(text)

    def ended(self, outcome: Outcome) -> None:
        if len(self._totals) > 1:
            display.note(f"  {outcome.instance_id} {'FAILED' if outcome.failure else 'is set up'}")


@contextmanager
def monitor(form: str, instance_ids: Sequence[str]) -> Iterator[Monitor]:
    """The monitor for `form` (one of `FORMS`) and where standard error goes."""
    if form == "json":
        yield Events()
    elif display.console(stderr=True).is_terminal:
        with live_monitor(several=len(instance_ids) > 1) as live:
            yield live
    else:
        yield Lines()


def show_outcomes(outcomes: Sequence[Outcome], seconds: float, region: str) -> None:
    """The summary of a run in which nothing failed that had to succeed."""
    for outcome in outcomes:
        for task in outcome.failed_optional:
            display.warn(
                f"{task} failed on {outcome.instance_id}. It is optional, so the run went on; the next run tries it"
                f" again. What it said: invoke setup.logs {quoted(task)} -i {quoted(outcome.instance_id)} -r {region}"
            )
    ran = max(len(outcome.ran) for outcome in outcomes)
    skipped = min(len(outcome.skipped) for outcome in outcomes)
    left_out = len(outcomes[0].left_out)
    done = "Done" if left_out else "Setup complete"
    where = "" if len(outcomes) == 1 else f" on {len(outcomes)} machines"
    before = (f", {skipped} already finished" if skipped else "") + (f", {left_out} left out" if left_out else "")
    display.note(f"{done}{where}: {ran} {'task' if ran == 1 else 'tasks'} run{before}, {seconds:.0f} s.")


def show_dry_run(plans: Sequence[tuple[Sequence[str], Plan]], *, mode: str, syntax: str) -> None:
    """Each script exactly as it would run, and what would be called. Each plan is for its instances."""
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
    machines = ", ".join(one for instance_ids, _ in plans for one in instance_ids)
    sending = f"SendCommand to {machines}"
    if mode == STEP:
        calls = f"{sending} (AWS-RunShellScript) for each task, and ListCommandInvocations once a second"
    else:
        calls = f"CreateDocument, {sending}, then ListCommandInvocations once a second"
    display.say(f"----- Dry run: nothing was sent. A run would call {calls}.")
