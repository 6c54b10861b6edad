"""The commands that join the parts: deploy and then set up, look, remove. Setting up by itself: `setup_jobs`.

Between the Invoke tasks, which only parse, and the modules that do one thing each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchneuron import (
    code_server,
    config,
    deployment,
    display,
    openings,
    options,
    passwords,
    removal,
    setup_password,
    show_deployment,
    state_bucket,
)
from torchneuron.aws import Aws
from torchneuron.setup_jobs import Machines, set_up_machines, setup_words
from torchneuron.setup_password import PasswordSource
from torchneuron.task_runs import RunOptions


def bootstrap(region: str, *, dry_run: bool) -> None:
    """`invoke bootstrap`."""
    settings = config.load()
    aws = Aws(settings.region(region))
    if dry_run:
        state_bucket.show_dry_run(state_bucket.try_out(aws.s3(), aws.sts(), settings, aws.region))
    else:
        state_bucket.show(state_bucket.bootstrap(aws.s3(), aws.sts(), settings, aws.region))


def try_out_deploy(given: Mapping[str, Any], *, skip_setup: bool, allow_replace: bool, release_data: bool) -> None:
    """`invoke deploy --dry-run`: the checks and the plan."""
    settings = config.load()
    aws = Aws(settings.region(given.get("region")))
    if not skip_setup:
        code_server.check(settings)
    plan = deployment.try_out(settings, aws, given, allow_replace=allow_replace, release_data=release_data)
    show_deployment.show_plan(plan)


def deploy_and_set_up(
    given: Mapping[str, Any], *, skip_setup: bool, allow_replace: bool, release_data: bool, yes: bool
) -> None:
    """`invoke deploy`. What the setup would refuse is refused before there is a machine to pay for."""
    settings = config.load()
    aws = Aws(settings.region(given.get("region")))
    if not skip_setup:
        code_server.check(settings)
    made = deployment.deploy(settings, aws, given, allow_replace=allow_replace, release_data=release_data, yes=yes)
    if not skip_setup:
        one = made.instance_ids if len(made.instance_ids) == 1 else ()
        words = setup_words(Machines(one, region=aws.region), RunOptions(), PasswordSource())
        with deployment.launched(made.instance_ids, words.again):
            password = setup_password.stored(aws, made.secret_arn)
            machines = Machines(made.instance_ids, region=aws.region)
            set_up_machines(settings, aws, machines, RunOptions(wait=True), password, words)
    show_deployment.show(openings.look(aws, settings, made), settings)


def info(region: str, output: str) -> None:
    """`invoke info`, and `invoke deploy --show-info`."""
    form = options.one_of("--output", output, ("table", "json"))
    settings = config.load()
    aws = Aws(settings.region(region))
    show = show_deployment.show_json if form == "json" else show_deployment.show
    show(openings.look(aws, settings, deployment.info(settings, aws)), settings)


def destroy(region: str, *, yes: bool, delete_data: bool, dry_run: bool) -> None:
    """`invoke destroy`, and `invoke deploy --destroy`."""
    settings = config.load()
    aws = Aws(settings.region(region))
    if dry_run:
        removal.try_out(settings, aws, delete_data=delete_data)
    else:
        removal.destroy(settings, aws, yes=yes, delete_data=delete_data)


def show_password(region: str) -> None:
    """`invoke password`."""
    settings = config.load()
    aws = Aws(settings.region(region))
    found = deployment.info(settings, aws)
    display.say(passwords.read_secret(aws.secrets(), found.secret_arn).text)
