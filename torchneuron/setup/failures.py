"""Errors for runs that stopped: which task, why, the SSM command, where to read more, and the command that resumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torchneuron.core.errors import AwsError, Detached, SetupError
from torchneuron.core.text import command, quoted
from torchneuron.setup.document import RUN_SHELL_SCRIPT
from torchneuron.setup.run_command import RunCommand, StepOutput
from torchneuron.setup.steps import Outcome, StepState, StepStatus, own_lines
from torchneuron.setup.watch import CommandResult

_SHOWN_OUTPUT_LINES = 20
_SHOWN_FAILURES = 3
# Reported by an agent that starts and finds a command under way without its worker (amazon-ssm-agent,
# agent/framework/processor/executer/outofproc).
_RESTARTED = "document process failed unexpectedly"
_ONE_BY_ONE = "Tasks are sent one by one: those after the current one wait for the next run."


@dataclass(frozen=True)
class ResumeCommands:
    """The command lines that resume or cancel a run.

    `resume_from(task)` resumes at a task, or where the run stopped if that is empty. `start_from` is this run's own.
    """

    region: str
    resume_from: Callable[[str], str]
    cancel: str
    start_from: str = ""

    @property
    def again(self) -> str:
        """The same command again, which also attaches to a run under way."""
        return self.resume_from(self.start_from)

    def after_failure(self, task: str) -> str:
        """The command that resumes at a failed task, without running again what succeeded before it."""
        return self.resume_from(task if self.start_from else "")


def failure(resume: ResumeCommands, run_command: RunCommand, instance_id: str, result: CommandResult) -> SetupError:
    """Why the run stopped on the instance."""
    command_id = result.running.command_id
    if result.lost:
        return SetupError(
            f"Lost contact with {instance_id} during the setup.",
            why="The machine has not answered for minutes. It was stopped or terminated (as the instances of a Capacity"
            f" Block are before its end), or its SSM agent died. SSM command {command_id}.",
            do=f"If the machine comes back, the setup goes on. To watch it: {resume.again}",
        )
    if result.invocation is None:
        return SetupError(
            f"SSM does not know the command {command_id}, which it accepted for {instance_id}.",
            why="The command was lost on its way; the agent may have been updating itself.",
            do=f"Run it again: {resume.again}",
        )
    if result.is_cancelled:
        return SetupError(
            f"The setup was cancelled on {instance_id}.",
            why=f"SSM command {command_id}.",
            do=f"Resume with: {resume.again}",
        )
    if result.failed is None:
        status = result.invocation.details or result.invocation.status.value
        return SetupError(
            f"The setup did not run on {instance_id}: {status}.",
            why=f"SSM command {command_id}.",
            do=f"Run it again: {resume.again}",
        )
    if result.failed.last_line.startswith(_RESTARTED):
        return SetupError(
            f"{instance_id}, or its SSM agent, was restarted during the setup.",
            why=f"The current task was stopped; the agent reports the first one as failed. SSM command {command_id}.",
            do=f"Once the machine is back, resume with: {resume.again}",
        )
    return _failed_task(resume, run_command, instance_id, result, result.failed)


def _failed_task(
    resume: ResumeCommands, run_command: RunCommand, instance_id: str, result: CommandResult, failed: StepStatus
) -> SetupError:
    command_id, is_only = result.running.command_id, result.running.document == RUN_SHELL_SCRIPT
    see = f"aws ssm get-command-invocation --region {resume.region} --command-id {quoted(command_id)}"
    see += f" --instance-id {instance_id}" + ("" if is_only else f" --plugin-name {failed.task}")
    try:
        output = run_command.output(command_id, instance_id, failed.task, is_only=is_only)
        shown, status = _last_lines(output), f"failed with status {output.exit_code}"
    except AwsError as error:
        shown, status = f"Its output could not be read. {error.what}", f"failed with status {failed.exit_code}"
    if failed.state is StepState.TIMED_OUT:
        status = "timed out"
    return SetupError(
        f"Task {failed.task} {status} on {instance_id}.",
        why=f"{shown}\nSSM command {command_id}. The output that SSM keeps: {see}\n"
        "The whole output, from the machine: "
        + command("invoke setup.logs", failed.task, "-i", instance_id, "-r", resume.region),
        do=f"Fix it, then resume with: {resume.after_failure(failed.task)}",
    )


def several(outcomes: Sequence[Outcome], resume: ResumeCommands) -> SetupError:
    """The failures on several instances in one error: the first ones in full."""
    failed = [outcome.failure for outcome in outcomes if outcome.failure]
    shown = [f"{failure.what}\n{failure.why}" for failure in failed[:_SHOWN_FAILURES]]
    if more := failed[_SHOWN_FAILURES:]:
        shown.append("\n".join(["And:", *(failure.what for failure in more)]))
    return SetupError(
        f"The setup failed on {len(failed)} of {len(outcomes)} machines.",
        why="\n\n".join(shown),
        do=f"Fix that, then resume with: {resume.again}",
    )


def detached(resume: ResumeCommands, instance_ids: Sequence[str], *, one_by_one: bool) -> Detached:
    """Ctrl-C stopped the watching, not the run."""
    return Detached(
        f"Stopped watching. The setup goes on, on {summary(instance_ids)}.",
        why=_ONE_BY_ONE if one_by_one else "",
        do=f"To watch it again: {resume.again}\nTo cancel it: {resume.cancel}",
    )


def out_of_sight(
    resume: ResumeCommands, error: AwsError, instance_ids: Sequence[str], *, one_by_one: bool
) -> SetupError:
    """AWS no longer answers: expired credentials, or no network."""
    goes_on = f"The setup goes on, on {summary(instance_ids)}." + (f" {_ONE_BY_ONE}" if one_by_one else "")
    do = f"{error.do}\nTo watch it again: {resume.again}".strip()
    return SetupError(error.what, why=f"{error.why}\n{goes_on}".strip(), do=do)


def too_many_errors(resume: ResumeCommands, instance_id: str) -> SetupError:
    """--max-errors was exceeded before anything was sent to the instance."""
    return SetupError(
        f"Nothing was sent to {instance_id}.",
        why="The setup failed on more machines than --max-errors allows.",
        do=f"Fix those, then resume with: {resume.again}",
    )


def summary(instance_ids: Sequence[str]) -> str:
    """Up to three instance ids, or the number of machines."""
    return ", ".join(instance_ids) if len(instance_ids) <= 3 else f"{len(instance_ids)} machines"


def _last_lines(output: StepOutput) -> str:
    errors, results = (own_lines(text)[-_SHOWN_OUTPUT_LINES:] for text in (output.stderr, output.stdout))
    if errors and results:
        return "\n".join([*errors, "Its standard output ended with:", *results])
    return "\n".join(errors or results or ["It wrote nothing."])
