"""The commands that join the parts: deploy and then set up, look, remove. Setting up by itself: `setup_jobs`.

Between the Invoke tasks, which only parse, and the modules that do one thing each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchneuron.aws.session import Aws
from torchneuron.core import config, display, options
from torchneuron.deploy import deploy, ingress, state_bucket, view
from torchneuron.deploy import destroy as destroying
from torchneuron.deploy.deploy import Permissions
from torchneuron.deploy.machine_setup import Targets, resume_setup, set_up_machines
from torchneuron.setup import code_server, passwords
from torchneuron.setup.passwords import PasswordSource
from torchneuron.setup.task_runs import RunOptions


def bootstrap(region: str, *, dry_run: bool) -> None:
    """`invoke bootstrap`."""
    settings = config.load()
    aws = Aws(settings.region(region))
    report = state_bucket.bootstrap(aws.s3(), aws.sts(), settings, aws.region, dry_run=dry_run)
    if dry_run:
        state_bucket.show_dry_run(report)
    else:
        state_bucket.show(report)


def try_out_deploy(given: Mapping[str, Any], *, skip_setup: bool, allow_replace: bool, release_data: bool) -> None:
    """`invoke deploy --dry-run`: the checks and the plan."""
    settings = config.load()
    aws = Aws(settings.region(given.get("region")))
    if not skip_setup:
        code_server.check(settings)
    plan = deploy.try_out(settings, aws, given, Permissions(allow_replace, release_data))
    view.show_plan(plan)


def deploy_and_set_up(
    given: Mapping[str, Any], *, skip_setup: bool, allow_replace: bool, release_data: bool, yes: bool
) -> None:
    """`invoke deploy`. What the setup would refuse is refused before there is a machine to pay for."""
    settings = config.load()
    aws = Aws(settings.region(given.get("region")))
    if not skip_setup:
        code_server.check(settings)
    made = deploy.deploy(settings, aws, given, Permissions(allow_replace, release_data, yes))
    if not skip_setup:
        one = made.instance_ids if len(made.instance_ids) == 1 else ()
        words = resume_setup(Targets(one, region=aws.region), RunOptions(), PasswordSource())
        with deploy.launched(made.instance_ids, words.again):
            password = passwords.stored(aws, made.secret_arn)
            machines = Targets(made.instance_ids, region=aws.region)
            set_up_machines(settings, aws, machines, RunOptions(wait=True), password, words)
    view.show(ingress.look_up(aws, settings, made), settings)


def info(region: str, output: str) -> None:
    """`invoke info`, and `invoke deploy --show-info`."""
    form = options.one_of("--output", output, ("table", "json"))
    settings = config.load()
    aws = Aws(settings.region(region))
    show = view.show_json if form == "json" else view.show
    show(ingress.look_up(aws, settings, deploy.info(settings, aws)), settings)


def destroy(region: str, *, yes: bool, delete_data: bool, dry_run: bool) -> None:
    """`invoke destroy`, and `invoke deploy --destroy`."""
    settings = config.load()
    aws = Aws(settings.region(region))
    if dry_run:
        destroying.try_out(settings, aws, delete_data=delete_data)
    else:
        destroying.destroy(settings, aws, yes=yes, delete_data=delete_data)


def show_password(region: str) -> None:
    """`invoke password`."""
    settings = config.load()
    aws = Aws(settings.region(region))
    found = deploy.info(settings, aws)
    display.say(passwords.read_secret(aws.secrets(), found.secret_arn).text)
