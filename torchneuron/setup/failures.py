"""What is said of a run that stopped: the task, its end, the command, where the rest is to be read, and the way on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torchneuron.core.errors import AwsError, Detached, SetupError
from torchneuron.core.text import command, quoted
from torchneuron.setup.document import RUN_SHELL_SCRIPT
from torchneuron.setup.monitor import Outcome
from torchneuron.setup.run_command import Commands, StepOutput, own_lines
from torchneuron.setup.steps import StepStatus, Word
from torchneuron.setup.watch import Ended

_SHOWN_OUTPUT_LINES = 20
_SHOWN_FAILURES = 3
# What an agent says that finds a command under way when it starts, and no worker of it (amazon-ssm-agent,
# agent/framework/processor/executer/outofproc).
_RESTARTED = "document process failed unexpectedly"
_ONE_BY_ONE = "What comes after the task under way waits for the next run: tasks are sent one by one."


@dataclass(frozen=True)
class Words:
    """What messages need to name: the region, and the command lines that resume the run and that cancel it.

    `line` makes the one that resumes, from what it is to start from; `start_from` is what this run was to.
    """

    region: str
    line: Callable[[str], str]
    cancel: str
    start_from: str = ""

    @property
    def again(self) -> str:
        """The line that does the same again, or attaches."""
        return self.line(self.start_from)

    def behind(self, task: str) -> str:
        """The line that takes up at a task that failed: what ran before it is not chosen to run again."""
        return self.line(task if self.start_from else "")


def failure(words: Words, commands: Commands, instance_id: str, ended: Ended) -> SetupError:
    """Why the run stopped on the instance."""
    command_id = ended.running.command_id
    if ended.lost:
        return SetupError(
            f"Systems Manager has lost {instance_id} in the middle of the setup.",
            why="Nothing has been heard of it for minutes: it was stopped or terminated (a Capacity Block's "
            f"instances are, before its end), or its agent died. SSM command {command_id}.",
            do=f"If the machine comes back, so does its setup: {words.again}",
        )
    if ended.invocation is None:
        return SetupError(
            f"SSM does not know the command {command_id} it accepted for {instance_id}.",
            why="It was lost on its way; the agent may have been updating itself.",
            do=f"Run it again: {words.again}",
        )
    if ended.is_cancelled:
        return SetupError(
            f"The setup was cancelled on {instance_id}.",
            why=f"SSM command {command_id}.",
            do=f"This takes it up again: {words.again}",
        )
    if ended.failed is None:
        return SetupError(
            f"The setup was not carried out on {instance_id}: {ended.invocation.details or ended.invocation.status}.",
            why=f"SSM command {command_id}.",
            do=f"Run it again: {words.again}",
        )
    if ended.failed.last_line.startswith(_RESTARTED):
        return SetupError(
            f"{instance_id}, or the SSM agent on it, was restarted in the middle of the setup.",
            why=f"The task under way was stopped; the agent blames the first one. SSM command {command_id}.",
            do=f"Once it is back, this takes up where it was stopped: {words.again}",
        )
    return _failed_task(words, commands, instance_id, ended, ended.failed)


def _failed_task(words: Words, commands: Commands, instance_id: str, ended: Ended, failed: StepStatus) -> SetupError:
    command_id, is_amazons = ended.running.command_id, ended.running.document == RUN_SHELL_SCRIPT
    see = f"aws ssm get-command-invocation --region {words.region} --command-id {quoted(command_id)}"
    see += f" --instance-id {instance_id}" + ("" if is_amazons else f" --plugin-name {failed.task}")
    try:
        output = commands.output(command_id, instance_id, failed.task, is_only=is_amazons)
        told = _ends(output)
        status = f"failed with status {output.exit_code}"
    except AwsError as error:
        told, status = f"What it wrote could not be read. {error.what}", f"failed with status {failed.exit_code}"
    if failed.word is Word.TIMED_OUT:
        status = "ran out of time"
    return SetupError(
        f"Task {failed.task} {status} on {instance_id}.",
        why=f"{told}\nSSM command {command_id}; as much of the output as SSM keeps: {see}\n"
        "All of it, from the machine: "
        + command("invoke setup.logs", failed.task, "-i", instance_id, "-r", words.region),
        do=f"Once it is mended, this takes up at {failed.task}: {words.behind(failed.task)}",
    )


def several(outcomes: Sequence[Outcome], words: Words) -> SetupError:
    """The failures on some of several instances, in one: the first of them in full."""
    failed = [one.failure for one in outcomes if one.failure]
    told = [f"{failure.what}\n{failure.why}" for failure in failed[:_SHOWN_FAILURES]]
    if more := failed[_SHOWN_FAILURES:]:
        told.append("\n".join(["And:", *(failure.what for failure in more)]))
    return SetupError(
        f"{len(failed)} of {len(outcomes)} machines {'is' if len(failed) == 1 else 'are'} not set up.",
        why="\n\n".join(told),
        do=f"Once that is mended, this takes up where each machine stopped: {words.again}",
    )


def detached(words: Words, instance_ids: Sequence[str], *, one_by_one: bool) -> Detached:
    """What is said after Ctrl-C: the watching has ended, the run has not."""
    return Detached(
        f"Stopped watching; the setup goes on, on {named(instance_ids)}.",
        why=_ONE_BY_ONE if one_by_one else "",
        do=f"To watch it again: {words.again}\nTo stop it: {words.cancel}",
    )


def out_of_sight(words: Words, error: AwsError, instance_ids: Sequence[str], *, one_by_one: bool) -> SetupError:
    """What is said where AWS lets us look no more: credentials that expired, a network that stays away."""
    goes_on = f"The setup goes on, on {named(instance_ids)}." + (f" {_ONE_BY_ONE}" if one_by_one else "")
    do = f"{error.do}\nTo watch it again: {words.again}".strip()
    return SetupError(error.what, why=f"{error.why}\n{goes_on}".strip(), do=do)


def too_many(words: Words, instance_id: str) -> SetupError:
    """Why nothing was sent to the instance: too many of the others have failed."""
    return SetupError(
        f"Nothing was sent to {instance_id}.",
        why="More of the others failed than --max-errors allows.",
        do=f"Once those are mended, this goes on: {words.again}",
    )


def named(instance_ids: Sequence[str]) -> str:
    """Some instances in a sentence."""
    return ", ".join(instance_ids) if len(instance_ids) <= 3 else f"{len(instance_ids)} machines"


def _ends(output: StepOutput) -> str:
    """The end of what a step wrote to standard error and standard output."""
    errors, results = (own_lines(text)[-_SHOWN_OUTPUT_LINES:] for text in (output.stderr, output.stdout))
    if errors and results:
        return "\n".join([*errors, "Its standard output ended with:", *results])
    return "\n".join(errors or results or ["It wrote nothing."])
