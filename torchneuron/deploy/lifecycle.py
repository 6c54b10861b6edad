"""`invoke bootstrap`, `deploy`, `info`, `password` and `destroy`: each joins the modules that do one thing each.

Each imports what only it needs, so that short commands start quickly.
"""

from __future__ import annotations

from torchneuron.aws.session import Aws
from torchneuron.core import config, display
from torchneuron.core.config import Config
from torchneuron.deploy import deploy as deploying
from torchneuron.deploy.inventory import Deployed
from torchneuron.deploy.options import BootstrapOptions, DeployOptions, DestroyOptions, InfoOptions, PasswordOptions


def bootstrap(options: BootstrapOptions) -> None:
    """`invoke bootstrap`."""
    from torchneuron.deploy import state_bucket

    settings, aws = _load(options.region)
    report = state_bucket.bootstrap(aws.s3(), aws.sts(), settings, aws.region, dry_run=options.dry_run)
    if options.dry_run:
        state_bucket.show_dry_run(report)
    else:
        state_bucket.show(report)


def deploy(options: DeployOptions) -> None:
    """`invoke deploy`. What the setup would refuse is refused before there is a machine to pay for."""
    options.check()
    if options.destroy:
        destroy(DestroyOptions(options.region, options.yes, options.delete_data, options.dry_run))
        return
    if options.show_info:
        info(InfoOptions(options.region))
        return
    from torchneuron.deploy import ingress, view
    from torchneuron.setup import code_server

    settings, aws = _load(options.region)
    if not options.skip_setup:
        code_server.check(settings)
    if options.dry_run:
        view.show_plan(deploying.try_out(settings, aws, options))
        return
    deployed = deploying.deploy(settings, aws, options)
    if not options.skip_setup:
        _set_up(settings, aws, deployed)
    view.show(ingress.look_up(aws, settings, deployed), settings)


def _set_up(settings: Config, aws: Aws, deployed: Deployed) -> None:
    from torchneuron.deploy.machine_setup import Targets, resume_setup, set_up_machines
    from torchneuron.setup import passwords
    from torchneuron.setup.passwords import PasswordSource
    from torchneuron.setup.task_runs import RunOptions

    only = deployed.instance_ids if len(deployed.instance_ids) == 1 else ()
    commands = resume_setup(Targets(only, region=aws.region), RunOptions(), PasswordSource())
    with deploying.launched(deployed.instance_ids, commands.again):
        password = passwords.stored(aws, deployed.secret_arn)
        targets = Targets(deployed.instance_ids, region=aws.region)
        set_up_machines(settings, aws, targets, RunOptions(wait=True), password, commands)


def info(options: InfoOptions) -> None:
    """`invoke info`, and `invoke deploy --show-info`."""
    from torchneuron.deploy import ingress, view

    show = view.show_json if options.is_json else view.show
    settings, aws = _load(options.region)
    show(ingress.look_up(aws, settings, deploying.info(settings, aws)), settings)


def destroy(options: DestroyOptions) -> None:
    """`invoke destroy`, and `invoke deploy --destroy`."""
    from torchneuron.deploy import destroy as destroying

    settings, aws = _load(options.region)
    if options.dry_run:
        destroying.try_out(settings, aws, delete_data=options.delete_data)
    else:
        destroying.destroy(settings, aws, yes=options.yes, delete_data=options.delete_data)


def password(options: PasswordOptions) -> None:
    """`invoke password`."""
    from torchneuron.setup import passwords

    settings, aws = _load(options.region)
    deployed = deploying.info(settings, aws)
    display.say(passwords.read_secret(aws.secrets(), deployed.secret_arn).text)


def _load(region: str) -> tuple[Config, Aws]:
    settings = config.load()
    return settings, Aws(settings.region(region))
