"""`invoke setup`, `setup.logs` and `run-tasks`: choose machines and password; run, resume, cancel, show logs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torchneuron.aws.ec2 import find_instances
from torchneuron.aws.session import Aws
from torchneuron.core import config, display, options
from torchneuron.core.config import Config
from torchneuron.core.errors import AwsError, InputError, NotFoundError, SetupError
from torchneuron.deploy import deploy, ingress, inventory
from torchneuron.setup import code_server, definition, logs, passwords, secret_values, task_runs
from torchneuron.setup.definition import TaskFile
from torchneuron.setup.document import AUTO, NAME_PREFIX
from torchneuron.setup.failures import ResumeCommands, summary
from torchneuron.setup.options import LogsOptions, RunTasksOptions, SetupOptions, TargetOptions, TaskRunOptions
from torchneuron.setup.passwords import PasswordSource
from torchneuron.setup.plan import TaskSelection
from torchneuron.setup.references import Reference, is_reference
from torchneuron.setup.run import DispatchOptions
from torchneuron.setup.run_command import RunCommand, SentCommand
from torchneuron.setup.secret_values import SecretValues
from torchneuron.setup.task_runs import RunOptions

_CANCEL_SECONDS = 60


@dataclass(frozen=True)
class Targets:
    """The machines a command is for: given by id, all with a tag (KEY=VALUE), or by default the deployment's."""

    instance_ids: tuple[str, ...] = ()
    tag: str = ""
    region: str = ""

    @classmethod
    def of(cls, given: TargetOptions) -> Targets:
        """The machines that a command's options select. Raises InputError for an empty id."""
        ids = (instance_id for text in given.instance_id for instance_id in options.several("--instance-id", text))
        tag = given.tag if isinstance(given, TaskRunOptions) else ""
        return cls(tuple(dict.fromkeys(ids)), tag, given.region)

    def check(self) -> None:
        """Raises InputError for both ids and a tag, and for a malformed tag."""
        if self.instance_ids and self.tag:
            raise InputError("Give --instance-id or --tag, not both.")
        if self.tag and not all(self.tag.partition("=")):
            raise InputError(f"--tag {self.tag!r} is not KEY=VALUE.")

    @property
    def as_options(self) -> list[str]:
        """The options that select the same machines on a command line."""
        ids = [word for instance_id in self.instance_ids for word in ("-i", instance_id)]
        return [*ids, *(["--tag", self.tag] if self.tag else []), "-r", self.region]

    @property
    def as_ssm_target(self) -> tuple[str, str] | None:
        """Key and value of the tag for SendCommand's Targets."""
        key, _, value = self.tag.partition("=")
        return (f"tag:{key}", value) if self.tag else None


def set_up(given: SetupOptions) -> None:
    """Run `invoke setup`."""
    targets, run_options = Targets.of(given), _run_options(given)
    if given.cancel:
        _cancel(targets, dry_run=given.dry_run)
        return
    source = PasswordSource(given.secret_arn, given.password, given.random_password)
    source.check()
    settings, aws, targets, deployment_secret = _resolve(targets, run_options, needs_secret=True, source=source)
    own = bool(deployment_secret) and _all_deployed(settings, aws, targets.instance_ids)
    password, values = passwords.prepare(source, deployment_secret, aws, own=own, dry_run=given.dry_run)
    resume = resume_setup(targets, run_options, source, own=own)
    set_up_machines(settings, aws, targets, run_options, password, resume, values)


def _run_options(given: TaskRunOptions) -> RunOptions:
    selection = TaskSelection(given.start_from, given.only, given.clean_state)
    dispatch = DispatchOptions(given.mode, Targets.of(given).as_ssm_target, given.max_concurrency, given.max_errors)
    return RunOptions(selection, dispatch, given.dry_run, given.wait, given.output)


def set_up_machines(
    settings: Config,
    aws: Aws,
    targets: Targets,
    run_options: RunOptions,
    password: Reference,
    resume: ResumeCommands,
    secret_values: SecretValues | None = None,
) -> None:
    """Set up code-server on machines given by id."""
    ids = targets.instance_ids
    code_server.setup(
        settings,
        aws,
        ids,
        run_options,
        resume,
        password=password,
        secret_values=secret_values,
        data_volumes=inventory.data_volumes(aws, ids),
        opened=ingress.open_instances(aws, settings, ids),
    )


def run_tasks(given: RunTasksOptions) -> None:
    """Run `invoke run-tasks`."""
    targets, run_options = Targets.of(given), _run_options(given)
    if given.cancel:
        _cancel(targets, dry_run=given.dry_run)
        return
    if not given.file:
        raise InputError("Missing option: --file.", do="Give a task file (JSON): --file NAME")
    pairs = task_runs.parse_variables(given.var)
    task_file = definition.load(Path(given.file))
    variables, values_to_deliver = secret_values.read(task_file, pairs, ask=not given.dry_run)
    definition.fill(task_file, variables)
    settings, aws, targets, _ = _resolve(targets, run_options, needs_secret=False)
    resume = resume_run_tasks(targets, run_options, task_file, pairs)
    variables = secret_values.with_versions(aws, task_file, variables)
    by_instance = dict.fromkeys(targets.instance_ids, variables)
    task_runs.run_task_file(settings, aws, task_file, by_instance, run_options, resume, values_to_deliver)


def _cancel(targets: Targets, *, dry_run: bool) -> None:
    """Cancel the commands of this project that are under way, and wait until they have stopped."""
    settings, aws, targets, _ = _resolve(targets, RunOptions(), needs_secret=False)
    run_command = RunCommand(aws.ssm(), aws.ssm_once(), settings.project_name)
    by_command: dict[SentCommand, list[str]] = {}
    for instance_id, sent in run_command.under_way(targets.instance_ids).items():
        by_command.setdefault(sent, []).append(instance_id)
    if not by_command:
        display.note(f"Nothing is under way on {summary(targets.instance_ids)}.")
        return
    if dry_run:
        for sent, instance_ids in by_command.items():
            display.note(f"Would cancel SSM command {sent.command_id} on {summary(instance_ids)}.")
        display.note("Dry run. Nothing was cancelled.")
        return
    for sent, instance_ids in by_command.items():
        run_command.cancel(sent.command_id, instance_ids)
        display.note(f"Cancelling SSM command {sent.command_id} on {summary(instance_ids)}.")
    with display.waiting("Waiting for the current task to stop"):
        _await_end(run_command, by_command)
    with suppress(AwsError):
        for sent in by_command:
            if sent.document.startswith(NAME_PREFIX):
                run_command.delete_document(sent.document)
    display.note("Cancelled. Finished tasks stay finished; the next run resumes after them.")


def _await_end(run_command: RunCommand, by_command: Mapping[SentCommand, Sequence[str]]) -> None:
    deadline = time.monotonic() + _CANCEL_SECONDS
    while running := _still_running(run_command, by_command):
        if time.monotonic() > deadline:
            raise SetupError(
                f"The setup has not stopped on {summary(running)} after {_CANCEL_SECONDS:.0f} s.",
                why="It stops when the machine's SSM agent receives the cancellation. The agent may be out of reach.",
                do="Run the same command to check again.",
            )
        time.sleep(1)


def _still_running(run_command: RunCommand, by_command: Mapping[SentCommand, Sequence[str]]) -> list[str]:
    running = []
    for sent, instance_ids in by_command.items():
        only = instance_ids[0] if len(instance_ids) == 1 else ""
        invocations = run_command.invocations(sent.command_id, (), only)
        running += [each for each in instance_ids if each in invocations and not invocations[each].status.is_terminal]
    return running


def show_logs(given: LogsOptions) -> None:
    """Run `invoke setup.logs`."""
    settings, aws, targets, _ = _resolve(Targets.of(given), RunOptions(), needs_secret=False)
    if len(targets.instance_ids) > 1:
        listed = "\n".join(f"  {instance_id}" for instance_id in targets.instance_ids)
        raise InputError("There are several machines.", why=listed, do="Choose one: -i ID.")
    (instance_id,) = targets.instance_ids
    ssm, run_command = aws.ssm(), RunCommand(aws.ssm(), aws.ssm_once(), settings.project_name)
    task = given.task or logs.EVERYTHING
    if given.follow:
        pieces = logs.follow(ssm, instance_id, task, goes_on=lambda: bool(run_command.under_way([instance_id])))
    else:
        pieces = logs.read(ssm, instance_id, task)
    display.stream(pieces)


def resume_setup(
    targets: Targets, run_options: RunOptions, source: PasswordSource, *, own: bool = True
) -> ResumeCommands:
    """The `invoke setup` command lines that resume or cancel this one. They contain no password.

    `own`: the password is in the deployment's secret, where the next run reads it.
    """
    given = ["--secret-arn", source.secret_arn] if source.secret_arn else []
    if not own and source.is_new:
        given.append("--password")
    note = "\n(At the prompt, enter the password shown above.)" if source.random and not own else ""
    return _resume_commands(
        ["invoke", "setup", *targets.as_options], targets.region, run_options, shlex.join(given) + note
    )


def resume_run_tasks(
    targets: Targets, run_options: RunOptions, task_file: TaskFile, given: Mapping[str, str]
) -> ResumeCommands:
    """The `invoke run-tasks` command lines that resume or cancel this one, with `…` for secret values."""
    words = ["invoke", "run-tasks", "--file", str(task_file.path), *targets.as_options]
    secret = {
        name
        for name, text in given.items()
        if name in task_file.variables and task_file.variables[name].secret and not is_reference(text)
    }
    values = [f"--var {name}=…" if name in secret else shlex.join(["--var", f"{name}={given[name]}"]) for name in given]
    note = "\n(Replace … with the secret values.)" if secret else ""
    return _resume_commands(words, targets.region, run_options, " ".join(values) + note)


def _resume_commands(words: Sequence[str], region: str, run_options: RunOptions, rest: str) -> ResumeCommands:
    """The command lines that start with `words`. --clean-state is left out: a resumed run keeps its results."""
    dispatch = run_options.dispatch
    kept = {
        "--only": run_options.selection.only,
        "--mode": "" if dispatch.mode == AUTO else dispatch.mode,
        "--max-concurrency": dispatch.max_concurrency,
        "--max-errors": dispatch.max_errors,
    }

    def resume_from(task: str) -> str:
        values = {"--start-from": task, **kept}
        given = [word for option, value in values.items() if value for word in (option, value)]
        return f"{shlex.join([*words, *given])} {rest}".replace(" \n", "\n").rstrip()

    return ResumeCommands(region, resume_from, shlex.join([*words, "--cancel"]), run_options.selection.start_from)


def _resolve(
    targets: Targets, run_options: RunOptions, *, needs_secret: bool, source: PasswordSource | None = None
) -> tuple[Config, Aws, Targets, str]:
    """The settings, AWS in the targets' region, the targets by id, and the deployment's secret if it is needed.

    The secret is empty for machines outside the deployment whose password comes from elsewhere (`source`).
    """
    targets.check()
    run_options.check()
    settings = config.load()
    is_explicit = bool(targets.instance_ids or targets.tag)
    # Given machines may be in any region; a deployment is in a configured one.
    aws = Aws(targets.region if targets.region and is_explicit else settings.region(targets.region))
    ids, secret = targets.instance_ids, ""
    if targets.tag:
        ids = _tagged(aws, targets.tag)
    is_foreign = bool(ids) and source is not None and source.is_given and not _all_deployed(settings, aws, ids)
    if (needs_secret and not is_foreign) or not ids:
        found = deploy.info(settings, aws)
        ids, secret = ids or found.instance_ids, found.secret_arn
    return settings, aws, Targets(ids, targets.tag, aws.region), secret


def _all_deployed(settings: Config, aws: Aws, instance_ids: Sequence[str]) -> bool:
    """Whether all instances belong to the deployment, whose role may read its secret."""
    deployed = {instance.instance_id for instance in inventory.live_instances(aws.ec2(), settings.project_name)}
    return set(instance_ids) <= deployed


def _tagged(aws: Aws, tag: str) -> tuple[str, ...]:
    """The pending and running instances with a tag."""
    key, _, value = tag.partition("=")
    running = find_instances(aws.ec2(), {"instance-state-name": ("pending", "running")}, tags={key: value})
    ids = tuple(instance.instance_id for instance in running)
    if not ids:
        raise NotFoundError(f"No running instance in {aws.region} has the tag {tag}.")
    return ids
