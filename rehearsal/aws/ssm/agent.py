"""The SSM agent's part of a command: the steps, one after the other, on one machine.

What the agent does is read off its source, https://github.com/aws/amazon-ssm-agent:
agent/framework/runpluginutil (order, exit codes 168 and 169, onFailure, skipped steps, truncation),
agent/plugins/pluginutil (status by exit code), agent/plugins/runscript (error line), iohandler (Output of 2,500).
What becomes of a command when its instance reboots for another reason than the command itself: agent/framework/
processor (documents under way are taken up again), executer/outofproc/master.go (their worker is gone: after 3 seconds
the document has failed, and its *first* step is the one that is reported so, whichever was under way).
These things there surprise:

- A step that is skipped is told to SSM as a success, and only the one text of both streams says why: that of the
  streams is empty. What the agent notes of a step that ends the document is the other way round: the one text has been
  made by then.
- `onFailure: exit` answers a failed step only: after one that timed out the next step runs.
- A script that ends with 137 of its own accord counts as timed out, and so does one that is killed by SIGKILL: the `sh`
  that it is run by says 137 then (`hosts.agent_process`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from rehearsal.aws.ssm.documents import Step
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.host import KILLED, Host, Script, ScriptResult

Outcome = Literal["ended", "vanished", "interrupted"]
Status = Literal["Pending", "InProgress", "Success", "Failed", "TimedOut", "Cancelled", "Skipped"]

REBOOT, EXIT_WITH_SUCCESS, EXIT_WITH_FAILURE = 194, 168, 169
STDOUT_KEPT, STDERR_KEPT, OUTPUT_KEPT = 24_000, 8_000, 2_500
TRUNCATED = "--output truncated--"
_ERROR_TITLE = "\n----------ERROR-------\n"
_OUTPUT_CUT, _ERROR_CUT = "\n---Output truncated---", "\n---Error truncated----"
_WORKER_GONE = (
    "document process failed unexpectedly: document worker timed out , "
    "check [ssm-document-worker]/[ssm-session-worker] log for crash reason"
)
_ORCHESTRATION = "/var/lib/amazon/ssm/{instance}/document/orchestration/{command}/{folder}/_script.sh"


@dataclass
class StepRecord:
    """How far a step is. `code` is -1 until it has ended; texts are whole and stay empty until then.

    `details`: where they are not what goes with the status. `said`: the one text of both streams, or what the agent
    says in its place, where that is not what the streams come to.
    """

    name: str
    status: Status = "Pending"
    code: int = -1
    stdout: str = ""
    stderr: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    details: str = ""
    said: str | None = None

    @property
    def output(self) -> str:
        """The one text that ListCommandInvocations shows."""
        return self.said if self.said is not None else combined(self.stdout, self.stderr, OUTPUT_KEPT)

    @property
    def shown_status(self) -> str:
        """The status as SSM's API has it, which knows no skipping."""
        return "Success" if self.status == "Skipped" else self.status


@dataclass(frozen=True)
class Job:
    """One command on one instance. `boots`: how often that has booted. `reboot`: None where it can't."""

    command_id: str
    instance_id: str
    region: str
    steps: Sequence[Step]
    boots: Callable[[], int] = lambda: 1
    reboot: Callable[[], None] | None = None


def run(
    job: Job,
    machine: Host,
    records: Sequence[StepRecord],
    *,
    cancelled: threading.Event,
    report: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run the job's steps, keeping `records` (one a step) up to date and reporting as they go.

    `vanished`: the machine was lost, and nothing more is known. `interrupted`: it rebooted under a step.
    """
    for index, step in enumerate(job.steps):
        record = records[index]
        record.started = _now()
        last = index == len(job.steps) - 1
        if _left(job.steps[:index], records[:index]) and not (step.finally_step and last):
            reason = "due to prior step with an exit condition"
            record.said = f"Plugin with name aws:runShellScript and id {step.name} skipped {reason}"
            record.status, record.code = "Skipped", 0
        elif cancelled.is_set():
            record.status, record.code = "Cancelled", 1
        else:
            record.status = "InProgress"
            report()
            try:
                if not _run_step(job, step, machine, record, cancelled):
                    return "interrupted"
            except HostError:
                return "vanished"
        record.ended = _now()
        report()
    return "ended"


def give_up(records: Sequence[StepRecord]) -> None:
    """What the agent makes of a command whose worker is gone: a failure of the first step, in these words."""
    first = records[0]
    first.status, first.details = "Failed", "Failed"
    # The agent has no code, so 0, and makes 1 of that in a failure: agent/contracts, prepareRuntimeStatus.
    first.code = (first.code if first.ended else 0) or 1
    first.ended = first.ended or _now()
    first.said = _WORKER_GONE


def merged(records: Sequence[StepRecord]) -> str:
    """The invocation's status, given those of its steps."""
    statuses = {record.shown_status for record in records}
    for one in ("Failed", "TimedOut", "Cancelled", "InProgress", "Pending"):
        if one in statuses:
            return one
    return "Success"


def cut(text: str, most: int) -> str:
    """`text`, or its beginning with a note, `most` characters in all."""
    return text if len(text) <= most else text[: most - len(TRUNCATED)] + TRUNCATED


def combined(stdout: str, stderr: str, most: int) -> str:
    """Both streams in at most `most` characters: each gets half, or what the other leaves."""
    title = _ERROR_TITLE if stderr else ""
    room = most - len(title)
    if len(stdout) + len(stderr) < room:
        return stdout + title + stderr
    half = room // 2
    if len(stdout) > half and len(stderr) > half:
        each = (room - len(_OUTPUT_CUT) - len(_ERROR_CUT)) // 2
        return stdout[:each] + _OUTPUT_CUT + title + stderr[:each] + _ERROR_CUT
    if len(stdout) < half:
        return stdout + title + stderr[: room - len(_ERROR_CUT) - len(stdout)] + _ERROR_CUT
    return stdout[: room - len(_OUTPUT_CUT) - len(stderr)] + _OUTPUT_CUT + title + stderr


def _left(steps: Sequence[Step], records: Sequence[StepRecord]) -> bool:
    """Whether one of the steps so far ended the document."""
    return any(
        record.code in (EXIT_WITH_SUCCESS, EXIT_WITH_FAILURE)
        or (record.status == "Failed" and step.on_failure == "exit")
        or (record.status == "Success" and step.on_success == "exit")
        for step, record in zip(steps, records, strict=True)
    )


def _run_step(job: Job, step: Step, machine: Host, record: StepRecord, cancelled: threading.Event) -> bool:
    """Whether the step came to an end; it did not when the machine rebooted meanwhile."""
    boots = job.boots()
    result = _run_script(job, step, machine, cancelled)
    while result.exit_code == REBOOT and job.reboot is not None and job.boots() == boots:
        job.reboot()
        boots = job.boots()
        result = _run_script(job, step, machine, cancelled)
    if job.boots() != boots:
        return False
    record.stdout, record.stderr, record.code = result.stdout, result.stderr, result.exit_code
    record.status = _status(result.exit_code, cancelled)
    if record.code == REBOOT:
        record.status = "Failed"
        record.stderr = _with_line(record.stderr, "the rehearsal's host can't reboot for a step (exit status 194)")
    elif record.status == "Failed":
        record.stderr = _with_line(record.stderr, f"failed to run commands: exit status {record.code}")
    _apply_exit(step, record)
    return True


def _apply_exit(step: Step, record: StepRecord) -> None:
    """Note in the step's streams that it ends the document, where it does."""
    record.said = record.output
    if record.code == EXIT_WITH_SUCCESS:
        record.status, record.stderr = "Success", ""
        record.stdout += _exit_note("Step exited with code 168. Therefore, marking step as succeeded.")
    elif record.code == EXIT_WITH_FAILURE:
        note = _exit_note("Step exited with code 169. Therefore, marking step as Failed.")
        record.stdout, record.stderr = record.stdout + note, record.stderr + note
    elif record.status == "Failed" and step.on_failure in ("exit", "successAndExit"):
        note = _exit_note("Step was found to have onFailure property.")
        record.stdout, record.stderr = record.stdout + note, record.stderr + note
        if step.on_failure == "successAndExit":
            record.status, record.code = "Success", EXIT_WITH_SUCCESS


def _run_script(job: Job, step: Step, machine: Host, cancelled: threading.Event) -> ScriptResult:
    script = Script(
        step.script,
        _ORCHESTRATION.format(instance=job.instance_id, command=job.command_id, folder=step.folder),
        step.timeout,
        environment={
            "AWS_SSM_INSTANCE_ID": job.instance_id,
            "AWS_SSM_REGION_NAME": job.region,
            "SSM_COMMAND_ID": job.command_id,
        },
        working_directory=step.working_directory,
        cancelled=cancelled,
    )
    return machine.run(script)


def _status(exit_code: int, cancelled: threading.Event) -> Status:
    if exit_code == 0:
        return "Success"
    if exit_code == KILLED:
        return "Cancelled" if cancelled.is_set() else "TimedOut"
    return "Failed"


def _exit_note(why: str) -> str:
    return f"\n{why} Further document steps will be skipped."


def _with_line(text: str, line: str) -> str:
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{line}"


def _now() -> datetime:
    return datetime.now(timezone.utc)
