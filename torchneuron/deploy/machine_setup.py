"""`invoke setup` and what belongs to it: run, cancel, read the logs; `run-tasks` for any other task file.

Which machines, which password, how a run is resumed: decided here, and handed to the modules that do one thing each.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torchneuron.aws.ec2 import find_instances
from torchneuron.aws.session import Aws
from torchneuron.core import config, display
from torchneuron.core.config import Config
from torchneuron.core.errors import AwsError, InputError, NotFoundError, SetupError
from torchneuron.deploy import deploy, ingress, inventory
from torchneuron.setup import code_server, definition, logs, secret_inputs, setup_password, task_runs
from torchneuron.setup.definition import TaskFile
from torchneuron.setup.delivery import Given
from torchneuron.setup.document import AUTO, NAME_PREFIX
from torchneuron.setup.failures import Words, named
from torchneuron.setup.references import Reference, is_reference
from torchneuron.setup.run_command import Commands, Found
from torchneuron.setup.setup_password import PasswordSource
from torchneuron.setup.task_runs import RunOptions

_CANCEL_SECONDS = 60


@dataclass(frozen=True)
class Machines:
    """Which machines a command is for: some by their ids, all with a tag (KEY=VALUE), or else the deployment's."""

    instance_ids: tuple[str, ...] = ()
    tag: str = ""
    region: str = ""

    def check(self) -> None:
        if self.instance_ids and self.tag:
            raise InputError("Give --instance-id or --tag, not both.")
        if self.tag and not all(self.tag.partition("=")):
            raise InputError(f"--tag {self.tag!r} is not KEY=VALUE.")

    @property
    def words(self) -> list[str]:
        """They as options, for a command line that is for the same ones."""
        ids = [word for one in self.instance_ids for word in ("-i", one)]
        return [*ids, *(["--tag", self.tag] if self.tag else []), "-r", self.region]

    @property
    def as_target(self) -> tuple[str, str] | None:
        """The tag as SendCommand's Targets take it."""
        key, _, value = self.tag.partition("=")
        return (f"tag:{key}", value) if self.tag else None


def set_up(machines: Machines, options: RunOptions, source: PasswordSource) -> None:
    """`invoke setup`."""
    source.check()
    settings, aws, machines, deployment_secret = _found(machines, options, needs_secret=True, source=source)
    own = bool(deployment_secret) and _are_ours(settings, aws, machines)
    password, given = setup_password.place(source, deployment_secret, aws, own=own, dry_run=options.dry_run)
    words = setup_words(machines, options, source, own=own)
    set_up_machines(settings, aws, machines, options, password, words, given)


def set_up_machines(
    settings: Config,
    aws: Aws,
    machines: Machines,
    options: RunOptions,
    password: Reference,
    words: Words,
    given: Given | None = None,
) -> None:
    """Set code-server up on machines that are known by their ids."""
    ids = machines.instance_ids
    volumes = inventory.data_volumes(aws, ids)
    opened = ingress.open_instances(aws, settings, ids)
    code_server.setup(
        settings,
        aws,
        ids,
        options,
        words,
        password=password,
        given=given,
        data_volumes=volumes,
        opened=opened,
    )


def run_tasks(machines: Machines, options: RunOptions, file: str, pairs: list[str]) -> None:
    """`invoke run-tasks`."""
    if not file:
        raise InputError("Which tasks? --file is missing.", do="Give the task file (JSON): --file NAME.")
    pairs_given = task_runs.parse_variables(pairs)
    task_file = definition.load(Path(file))
    values, given = secret_inputs.read(task_file, pairs_given, ask=not options.dry_run)
    definition.fill(task_file, values)
    settings, aws, machines, _ = _found(machines, options, needs_secret=False)
    words = run_tasks_words(machines, options, task_file, pairs_given)
    values = secret_inputs.with_versions(aws, task_file, values)
    by_instance = dict.fromkeys(machines.instance_ids, values)
    task_runs.run_task_file(settings, aws, task_file, by_instance, options, words, given)


def cancel(machines: Machines, *, dry_run: bool) -> None:
    """`invoke setup --cancel`, and that of `run-tasks`: whatever of ours is under way."""
    settings, aws, machines, _ = _found(machines, RunOptions(), needs_secret=False)
    commands = Commands(aws.ssm(), aws.ssm_once(), settings.project_name)
    under_way = commands.under_way(machines.instance_ids)
    if not under_way:
        display.note(f"Nothing is under way on {named(machines.instance_ids)}.")
        return
    by_command: dict[Found, list[str]] = {}
    for instance_id, found in under_way.items():
        by_command.setdefault(found, []).append(instance_id)
    if dry_run:
        for found, instance_ids in by_command.items():
            display.note(f"Would cancel SSM command {found.command_id} on {named(instance_ids)}.")
        display.note("Dry run. Nothing was cancelled.")
        return
    for found, instance_ids in by_command.items():
        commands.cancel(found.command_id, instance_ids)
        display.note(f"Cancelling SSM command {found.command_id} on {named(instance_ids)}.")
    with display.waiting("Waiting for the task under way to be stopped"):
        _await_end(commands, list(under_way))
    with suppress(AwsError):
        for found in by_command:
            if found.document.startswith(NAME_PREFIX):
                commands.delete_document(found.document)
    display.note("Cancelled. What had finished stays finished: the next run takes up behind it.")


def _await_end(commands: Commands, instance_ids: Sequence[str]) -> None:
    end = time.monotonic() + _CANCEL_SECONDS
    while left := commands.under_way(instance_ids):
        if time.monotonic() > end:
            raise SetupError(
                f"{named(list(left))} did not stop within {_CANCEL_SECONDS} s.",
                why="The agent does so at its own time, and not at all while the machine is down.",
                do="The same command looks again.",
            )
        time.sleep(1)


def show_logs(machines: Machines, task: str, *, follow: bool) -> None:
    """`invoke setup.logs`: the output of a task, or of all, from the one machine that is meant."""
    settings, aws, machines, _ = _found(machines, RunOptions(), needs_secret=False)
    if len(machines.instance_ids) > 1:
        listed = "\n".join(f"  {one}" for one in machines.instance_ids)
        raise InputError("Of which machine? There are several.", why=listed, do="Name one: -i ID.")
    (instance_id,) = machines.instance_ids
    ssm, commands = aws.ssm(), Commands(aws.ssm(), aws.ssm_once(), settings.project_name)
    task = task or logs.EVERYTHING
    if follow:
        pieces = logs.follow(ssm, instance_id, task, goes_on=lambda: bool(commands.under_way([instance_id])))
    else:
        pieces = logs.read(ssm, instance_id, task)
    display.stream(pieces)


def setup_words(machines: Machines, options: RunOptions, source: PasswordSource, *, own: bool = True) -> Words:
    """The `invoke setup` that resumes this one. A password is asked for again, never shown.

    `own`: the password is in the deployment's secret, where the next run finds it.
    """
    given = ["--secret-arn", source.secret_arn] if source.secret_arn else []
    if not own and (source.password or source.random):
        given.append("--password")
    note = "\n(The password it asks for is the one shown above.)" if source.random and not own else ""
    return _words(["invoke", "setup", *machines.words], machines.region, options, shlex.join(given) + note)


def run_tasks_words(machines: Machines, options: RunOptions, task_file: TaskFile, given: Mapping[str, str]) -> Words:
    """The `invoke run-tasks` that resumes this one, with `…` for the secrets' values."""
    words = ["invoke", "run-tasks", "--file", str(task_file.path), *machines.words]
    secret = {
        name
        for name, text in given.items()
        if name in task_file.variables and task_file.variables[name].secret and not is_reference(text)
    }
    values = [f"--var {name}=…" if name in secret else shlex.join(["--var", f"{name}={given[name]}"]) for name in given]
    note = "\n(Put the secret values in again for …)" if secret else ""
    return _words(words, machines.region, options, " ".join(values) + note)


def _words(command: Sequence[str], region: str, options: RunOptions, rest: str) -> Words:
    """What stays the same when a run is resumed: a clean start is not made twice."""
    way, only = options.way, options.choice.only
    kept = {
        "--only": only,
        "--mode": "" if way.mode == AUTO else way.mode,
        "--max-concurrency": way.max_concurrency,
        "--max-errors": way.max_errors,
    }

    def line(start_from: str) -> str:
        named = {"--start-from": start_from, **kept}
        words = [word for option, value in named.items() if value for word in (option, value)]
        return f"{shlex.join([*command, *words])} {rest}".replace(" \n", "\n").rstrip()

    return Words(region, line, shlex.join([*command, "--cancel"]), options.choice.start_from)


def _found(
    machines: Machines, options: RunOptions, *, needs_secret: bool, source: PasswordSource | None = None
) -> tuple[Config, Aws, Machines, str]:
    """The settings, AWS where the machines are, their ids, and the deployment's secret where it is asked for.

    A password from elsewhere (`source`) does without a deployment: then there is no secret.
    """
    machines.check()
    options.check()
    settings = config.load()
    named_here = bool(machines.instance_ids or machines.tag)
    # An instance of the user's own may be in any region; only our deployments need a configured one.
    aws = Aws(machines.region if machines.region and named_here else settings.region(machines.region))
    ids, secret = machines.instance_ids, ""
    if machines.tag:
        ids = _tagged(aws, machines.tag)
    foreign = bool(ids) and source is not None and source.is_given and not _are_ours(settings, aws, Machines(ids))
    if (needs_secret and not foreign) or not ids:
        found = deploy.info(settings, aws)
        ids, secret = ids or found.instance_ids, found.secret_arn
    return settings, aws, Machines(ids, machines.tag, aws.region), secret


def _are_ours(settings: Config, aws: Aws, machines: Machines) -> bool:
    """Whether all of the machines are the deployment's, by its tags: their role may read its secret."""
    ours = {one.instance_id for one in inventory.live_instances(aws.ec2(), settings.project_name)}
    return set(machines.instance_ids) <= ours


def _tagged(aws: Aws, tag: str) -> tuple[str, ...]:
    """The instances with a tag that run, or are about to."""
    key, _, value = tag.partition("=")
    running = find_instances(aws.ec2(), {"instance-state-name": ("pending", "running")}, tags={key: value})
    ids = tuple(instance.instance_id for instance in running)
    if not ids:
        raise NotFoundError(f"No instance that runs in {aws.region} has the tag {tag}.")
    return ids
