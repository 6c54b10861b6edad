"""The commands that join the parts: deploy and then set up, set up by itself, look, remove.

Between the Invoke tasks, which only parse, and the modules that do one thing each.
"""

from __future__ import annotations

import dataclasses
import getpass
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchneuron import (
    code_server,
    config,
    deployed,
    deployment,
    display,
    options,
    passwords,
    show_deployment,
    state_bucket,
)
from torchneuron.aws import Aws
from torchneuron.code_server import RunOptions
from torchneuron.config import Config
from torchneuron.errors import InputError
from torchneuron.passwords import Hashes
from torchneuron.setup import definition
from torchneuron.setup.definition import TaskFile


@dataclass(frozen=True)
class PasswordSource:
    """Where the password comes from: at most one of the three; none means the deployment's own secret.

    `password` is the password itself, or True when it is to be asked for.
    """

    secret_arn: str = ""
    password: str | bool = ""
    random: bool = False

    def check(self) -> None:
        if sum(map(bool, (self.secret_arn, self.password, self.random))) > 1:
            raise InputError("Give one of --secret-arn, --password and --random-password, not several.")


def bootstrap(region: str) -> None:
    """`invoke bootstrap`."""
    settings = config.load()
    aws = Aws(settings.region(region))
    state_bucket.show(state_bucket.bootstrap(aws.s3(), aws.sts(), settings, aws.region))


def deploy_and_set_up(given: Mapping[str, Any], *, skip_setup: bool, allow_replace: bool, release_data: bool) -> None:
    """`invoke deploy`. What the setup would refuse is refused before there is a machine to pay for."""
    settings = config.load()
    aws = Aws(settings.region(given.get("region")))
    if not skip_setup:
        code_server.check(settings)
    made = deployment.deploy(settings, aws, given, allow_replace=allow_replace, release_data=release_data)
    for instance_id in () if skip_setup else made.instance_ids:
        with deployment.launched(instance_id, aws.region):
            password = passwords.read_secret(aws.secrets(), made.secret_arn)
            hashes = passwords.hash_password(password, instance_id=instance_id)
            again = setup_again(RunOptions(instance_id), PasswordSource(), aws.region)
            _set_up(settings, aws, RunOptions(instance_id, wait=True), hashes, again)
    show_deployment.show(made, settings)


def info(region: str, output: str) -> None:
    """`invoke info`, and `invoke deploy --show-info`."""
    form = options.one_of("--output", output, ("table", "json"))
    settings = config.load()
    aws = Aws(settings.region(region))
    show = show_deployment.show_json if form == "json" else show_deployment.show
    show(deployment.info(settings, aws), settings)


def destroy(region: str, *, yes: bool, delete_data: bool) -> None:
    """`invoke destroy`, and `invoke deploy --destroy`."""
    settings = config.load()
    deployment.destroy(settings, Aws(settings.region(region)), yes=yes, delete_data=delete_data)


def show_password(region: str) -> None:
    """`invoke password`."""
    settings = config.load()
    aws = Aws(settings.region(region))
    found = deployment.info(settings, aws)
    display.say(passwords.read_secret(aws.secrets(), found.secret_arn))


def set_up(region: str, options: RunOptions, source: PasswordSource) -> None:
    """`invoke setup`."""
    source.check()
    settings = config.load()
    aws = Aws(_region_of(settings, region, options.instance_id))
    secret = source.secret_arn
    if not options.instance_id or not (secret or source.password or source.random):
        found = deployment.info(settings, aws)
        options = dataclasses.replace(options, instance_id=options.instance_id or found.instance_id)
        secret = secret or found.secret_arn
    if source.random and options.dry_run:
        display.note("A dry run makes no password: it shows what a new one would run.")
        hashes = code_server.NO_HASHES
    else:
        hashes = passwords.hash_password(_password(source, secret, aws), instance_id=options.instance_id)
    again = setup_again(options, source, aws.region)
    _set_up(settings, aws, options, hashes, again)


def _set_up(settings: Config, aws: Aws, options: RunOptions, hashes: Hashes, again: str) -> None:
    volume = deployed.data_volume_of(aws, options.instance_id)
    code_server.setup(settings, aws, options, hashes, again=again, data_volume=volume)


def run_tasks(region: str, options: RunOptions, file: str, pairs: list[str]) -> None:
    """`invoke run-tasks`."""
    if not file:
        raise InputError("Which tasks? --file is missing.", do="Give the task file (JSON): --file NAME.")
    given = code_server.parse_variables(pairs)
    task_file = definition.load(Path(file))
    settings = config.load()
    aws = Aws(_region_of(settings, region, options.instance_id))
    if not options.instance_id:
        options = dataclasses.replace(options, instance_id=deployment.info(settings, aws).instance_id)
    again = run_tasks_again(options, task_file, given, aws.region)
    code_server.run_task_file(settings, aws, task_file, given, options, again=again)


def setup_again(options: RunOptions, source: PasswordSource, region: str) -> str:
    """The `invoke setup` that resumes this one. A password is asked for again, never shown."""
    words = ["invoke", "setup", *_target(options, region)]
    if source.secret_arn:
        words += ["--secret-arn", source.secret_arn]
    if source.password or source.random:
        words.append("--password")
    note = "\n(The password it asks for is the one shown above.)" if source.random else ""
    return shlex.join(words) + note


def run_tasks_again(options: RunOptions, task_file: TaskFile, given: Mapping[str, str], region: str) -> str:
    """The `invoke run-tasks` that resumes this one, with `…` for the secrets' values."""
    line = shlex.join(["invoke", "run-tasks", "--file", str(task_file.path), *_target(options, region)])
    secret = {name for name in given if name in task_file.variables and task_file.variables[name].secret}
    for name, value in given.items():
        line += f" --var {name}=…" if name in secret else " " + shlex.join(["--var", f"{name}={value}"])
    return line + ("\n(Put the secret values in again for …)" if secret else "")


def _target(options: RunOptions, region: str) -> list[str]:
    """The instance and what else stays the same when a run is resumed; a clean start is not made twice."""
    words = ["-i", options.instance_id, "-r", region]
    if options.start_from:
        words += ["--start-from", options.start_from]
    return words


def _region_of(settings: Config, region: str, instance_id: str) -> str:
    """An instance of the user's own may be in any region; only our deployments need a configured one."""
    return region if region and instance_id else settings.region(region)


def _password(source: PasswordSource, secret: str, aws: Aws) -> str:
    if source.random:
        password = passwords.random_password()
        display.say(f"Password (shown this once): {password}")
        return password
    if source.password:
        return _typed() if source.password is True else str(source.password)
    return passwords.read_secret(aws.secrets(), secret)


def _typed() -> str:
    if not sys.stdin.isatty():
        raise InputError("There is no terminal to ask for the password on.", do="Use --secret-arn.")
    password = getpass.getpass("Password for code-server: ")
    if getpass.getpass("Once more: ") != password:
        raise InputError("The two passwords differ.")
    return password
