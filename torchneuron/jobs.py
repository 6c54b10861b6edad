"""The commands that join the parts: deploy and then set up, set up by itself, look, remove.

Between the Invoke tasks, which only parse, and the modules that do one thing each.
"""

from __future__ import annotations

import dataclasses
import getpass
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchneuron import code_server, config, deployment, display, passwords, state_bucket
from torchneuron.aws import Aws
from torchneuron.code_server import RunOptions
from torchneuron.config import Config
from torchneuron.errors import InputError


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


def deploy_and_set_up(overrides: Mapping[str, Any], *, skip_setup: bool, allow_replace: bool) -> None:
    """`invoke deploy`."""
    settings = config.load()
    aws = Aws(settings.region(overrides.get("region")))
    deployed = deployment.deploy(settings, aws, overrides, allow_replace=allow_replace)
    if not skip_setup:
        password = passwords.read_secret(aws.secrets(), deployed.secret_arn)
        code_server.setup(settings, aws, RunOptions(deployed.instance_id, wait=True), password)
    deployment.show(deployed, settings)


def look_or_remove(region: str, *, destroy: bool, yes: bool) -> None:
    """`invoke info` and `invoke destroy`, and the flags of `invoke deploy` that mean the same."""
    settings = config.load()
    aws = Aws(settings.region(region))
    if destroy:
        deployment.destroy(settings, aws, yes=yes)
    else:
        deployment.show(deployment.info(settings, aws), settings)


def show_password(region: str) -> None:
    """`invoke password`."""
    settings = config.load()
    aws = Aws(settings.region(region))
    deployed = deployment.info(settings, aws)
    display.say(passwords.read_secret(aws.secrets(), deployed.secret_arn))


def set_up(region: str, options: RunOptions, source: PasswordSource) -> None:
    """`invoke setup`."""
    source.check()
    settings = config.load()
    aws = Aws(_region_of(settings, region, options.instance_id))
    secret = source.secret_arn
    if not options.instance_id or not (secret or source.password or source.random):
        deployed = deployment.info(settings, aws)
        options = dataclasses.replace(options, instance_id=options.instance_id or deployed.instance_id)
        secret = secret or deployed.secret_arn
    code_server.setup(settings, aws, options, _password(source, secret, aws))


def run_tasks(region: str, options: RunOptions, file: str, pairs: list[str]) -> None:
    """`invoke run-tasks`."""
    given = code_server.parse_variables(pairs)
    settings = config.load()
    aws = Aws(_region_of(settings, region, options.instance_id))
    if not options.instance_id:
        options = dataclasses.replace(options, instance_id=deployment.info(settings, aws).instance_id)
    again = f"invoke run-tasks --file {file}"
    code_server.run_task_file(settings, aws, Path(file), given, options, again=again)


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
