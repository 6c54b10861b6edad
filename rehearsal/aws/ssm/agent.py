"""The SSM agent's part of a command: it runs the steps in order on one host.

Modelled on the agent's source, https://github.com/aws/amazon-ssm-agent:
agent/framework/runpluginutil (order, exit codes 168 and 169, onFailure, skipped steps, truncation),
agent/plugins/pluginutil (status by exit code), agent/plugins/runscript (error line), iohandler (Output of 2,500).
A reboot that the command did not ask for: agent/framework/processor (resumes documents in progress),
executer/outofproc/master.go (their worker is gone: after 3 seconds the document fails, and its *first* step is
reported as failed, whichever was running).
Behaviour of the agent that is easy to miss:

- A skipped step is reported as a success. Only its combined output says why; its streams are empty. The note about a
  step that ends the document is in its streams only: the agent combines the output before it adds the note.
- `onFailure: exit` applies to a failed step only: after a step that timed out, the next one runs.
- A script that exits with 137 counts as timed out, and so does one that is killed by SIGKILL: its `sh` exits with 137
  (`hosts.agent_process`).
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
MAX_STDOUT, MAX_STDERR, MAX_OUTPUT = 24_000, 8_000, 2_500
TRUNCATED = "--output truncated--"
_ERROR_TITLE = "\n----------ERROR-------\n"
_OUTPUT_TRUNCATED, _ERROR_TRUNCATED = "\n---Output truncated---", "\n---Error truncated----"
_WORKER_GONE = (
    "document process failed unexpectedly: document worker timed out , "
    "check [ssm-document-worker]/[ssm-session-worker] log for crash reason"
)
_ORCHESTRATION = "/var/lib/amazon/ssm/{instance}/document/orchestration/{command}/{folder}/_script.sh"


@dataclass
class StepRecord:
    """The progress of a step. `code` is -1, and the untruncated streams are empty, until it ends.

    `details`: StatusDetails where they do not follow from the status. `combined_output`: where it differs from the
    combination of the streams.
    """

    name: str
    status: Status = "Pending"
    code: int = -1
    stdout: str = ""
    stderr: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    details: str = ""
    combined_output: str | None = None

    @property
    def output(self) -> str:
        """The text of both streams in ListCommandInvocations."""
        if self.combined_output is not None:
            return self.combined_output
        return combine(self.stdout, self.stderr, MAX_OUTPUT)

    @property
    def api_status(self) -> str:
        """The status in SSM's API, which has no status for skipped steps."""
        return "Success" if self.status == "Skipped" else self.status


@dataclass(frozen=True)
class Job:
    """A command on one instance. `boots`: how often the host has booted. `reboot`: None when it can't reboot."""

    command_id: str
    instance_id: str
    region: str
    steps: Sequence[Step]
    boots: Callable[[], int] = lambda: 1
    reboot: Callable[[], None] | None = None


def run(
    job: Job,
    host: Host,
    records: Sequence[StepRecord],
    *,
    cancelled: threading.Event,
    report: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run the job's steps, update `records` (one per step) and call `report` on every change.

    Returns `vanished` when the host is gone and `interrupted` when it rebooted during a step.
    """
    for index, step in enumerate(job.steps):
        record = records[index]
        record.started = _now()
        is_last = index == len(job.steps) - 1
        if _has_exited(job.steps[:index], records[:index]) and not (step.finally_step and is_last):
            reason = "due to prior step with an exit condition"
            record.combined_output = f"Plugin with name aws:runShellScript and id {step.name} skipped {reason}"
            record.status, record.code = "Skipped", 0
        elif cancelled.is_set():
            record.status, record.code = "Cancelled", 1
        else:
            record.status = "InProgress"
            report()
            try:
                if not _run_step(job, step, host, record, cancelled):
                    return "interrupted"
            except HostError:
                return "vanished"
        record.ended = _now()
        report()
    return "ended"


def fail_interrupted(records: Sequence[StepRecord]) -> None:
    """Fail the first step, as the agent does for a command whose worker is gone."""
    first = records[0]
    first.status, first.details = "Failed", "Failed"
    # The agent has no exit code, and turns the 0 of a failure into 1: agent/contracts, prepareRuntimeStatus.
    first.code = (first.code if first.ended else 0) or 1
    first.ended = first.ended or _now()
    first.combined_output = _WORKER_GONE


def overall_status(records: Sequence[StepRecord]) -> str:
    """The status of an invocation with these steps."""
    statuses = {record.api_status for record in records}
    for status in ("Failed", "TimedOut", "Cancelled", "InProgress", "Pending"):
        if status in statuses:
            return status
    return "Success"


def truncate(text: str, limit: int) -> str:
    """At most `limit` characters of `text`, including a note when it is truncated."""
    return text if len(text) <= limit else text[: limit - len(TRUNCATED)] + TRUNCATED


def combine(stdout: str, stderr: str, limit: int) -> str:
    """Both streams in at most `limit` characters: each gets half, or what the other does not need."""
    title = _ERROR_TITLE if stderr else ""
    room = limit - len(title)
    if len(stdout) + len(stderr) < room:
        return stdout + title + stderr
    half = room // 2
    if len(stdout) > half and len(stderr) > half:
        share = (room - len(_OUTPUT_TRUNCATED) - len(_ERROR_TRUNCATED)) // 2
        return stdout[:share] + _OUTPUT_TRUNCATED + title + stderr[:share] + _ERROR_TRUNCATED
    if len(stdout) < half:
        return stdout + title + stderr[: room - len(_ERROR_TRUNCATED) - len(stdout)] + _ERROR_TRUNCATED
    return stdout[: room - len(_OUTPUT_TRUNCATED) - len(stderr)] + _OUTPUT_TRUNCATED + title + stderr


def _has_exited(steps: Sequence[Step], records: Sequence[StepRecord]) -> bool:
    """Whether one of these steps ended the document."""
    return any(
        record.code in (EXIT_WITH_SUCCESS, EXIT_WITH_FAILURE)
        or (record.status == "Failed" and step.on_failure == "exit")
        or (record.status == "Success" and step.on_success == "exit")
        for step, record in zip(steps, records, strict=True)
    )


def _run_step(job: Job, step: Step, host: Host, record: StepRecord, cancelled: threading.Event) -> bool:
    """Run a step and record its result; False when the host rebooted during the step."""
    boots = job.boots()
    result = _run_script(job, step, host, cancelled)
    while result.exit_code == REBOOT and job.reboot is not None and job.boots() == boots:
        job.reboot()
        boots = job.boots()
        result = _run_script(job, step, host, cancelled)
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
    """Apply the exit codes and `onFailure` that end the document, with a note in the step's streams."""
    record.combined_output = record.output
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


def _run_script(job: Job, step: Step, host: Host, cancelled: threading.Event) -> ScriptResult:
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
    return host.run(script)


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
