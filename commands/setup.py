"""What runs on machines: `invoke setup`, `setup.logs`, `run-tasks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from invoke import Context

from commands.command import command_of_arguments

if TYPE_CHECKING:
    from torchneuron.deploy.machine_setup import Targets

_RUN_HELP = {
    "instance_id": "an EC2 instance, any that Systems Manager manages; repeat for several (default: all deployed ones)",
    "tag": "KEY=VALUE: all instances that run and have this tag",
    "region": "AWS region",
    "start_from": "start at the task with this id, or whose id starts with it",
    "only": "run this task alone: its id, or what its id alone starts with",
    "dry_run": "show what would run, and touch nothing",
    "clean_state": "forget what has finished and begin again",
    "wait": "wait, up to 10 minutes, until Systems Manager reaches the instances",
    "cancel": "cancel what is under way there",
    "mode": "document (one command for all tasks), step (one a task), or auto: document where that is allowed",
    "max_concurrency": "of several machines, how many at once: a number or a percentage (default: all)",
    "max_errors": "after how many that fail no more are begun: a number or a percentage (default: all are)",
    "output": "table, or json: events, one a line",
}


@command_of_arguments(
    iterable=["instance_id"],
    optional=["password"],
    help={
        **_RUN_HELP,
        "secret_arn": "Secrets Manager secret with the password (default: the deployment's own)",
        "password": "the password; asked for when no value is given",
        "random_password": "make a password, and show it once",
    },
)
def setup(
    context: Context,
    instance_id: list[str] | None = None,
    tag: str = "",
    region: str = "",
    secret_arn: str = "",
    password: str = "",
    random_password: bool = False,
    start_from: str = "",
    only: str = "",
    dry_run: bool = False,
    clean_state: bool = False,
    wait: bool = False,
    cancel: bool = False,
    mode: str = "auto",
    max_concurrency: str = "",
    max_errors: str = "",
    output: str = "table",
) -> None:
    """Set code-server up on one machine or many; takes up where an earlier run stopped."""
    from torchneuron.deploy import machine_setup
    from torchneuron.setup.passwords import PasswordSource
    from torchneuron.setup.plan import TaskSelection
    from torchneuron.setup.run import DispatchOptions
    from torchneuron.setup.task_runs import RunOptions

    machines = _machines(instance_id, tag, region)
    if cancel:
        machine_setup.cancel(machines, dry_run=dry_run)
        return
    way = DispatchOptions(mode, machines.as_ssm_target, max_concurrency, max_errors)
    options = RunOptions(TaskSelection(start_from, only, clean_state), way, dry_run, wait, output)
    machine_setup.set_up(machines, options, PasswordSource(secret_arn, password, random_password))


@command_of_arguments(
    iterable=["instance_id", "var"],
    help={
        **_RUN_HELP,
        "file": "the task file (JSON)",
        "var": "NAME=VALUE for one of the file's variables; of a secret NAME=secretsmanager:ARN, ssm:/NAME, @FILE or "
        "env:NAME; repeatable",
    },
)
def run_tasks(
    context: Context,
    file: str = "",
    instance_id: list[str] | None = None,
    tag: str = "",
    region: str = "",
    var: list[str] | None = None,
    start_from: str = "",
    only: str = "",
    dry_run: bool = False,
    clean_state: bool = False,
    wait: bool = False,
    cancel: bool = False,
    mode: str = "auto",
    max_concurrency: str = "",
    max_errors: str = "",
    output: str = "table",
) -> None:
    """Run any task file on machines, as setup runs its own."""
    from torchneuron.deploy import machine_setup
    from torchneuron.setup.plan import TaskSelection
    from torchneuron.setup.run import DispatchOptions
    from torchneuron.setup.task_runs import RunOptions

    machines = _machines(instance_id, tag, region)
    if cancel:
        machine_setup.cancel(machines, dry_run=dry_run)
        return
    way = DispatchOptions(mode, machines.as_ssm_target, max_concurrency, max_errors)
    options = RunOptions(TaskSelection(start_from, only, clean_state), way, dry_run, wait, output)
    machine_setup.run_tasks(machines, options, file, list(var or ()))


@command_of_arguments(
    iterable=["instance_id"],
    help={
        "task": "the task's id, or what its id alone starts with (default: all tasks)",
        "follow": "go on with what is added, until the run under way ends",
        "instance_id": "the EC2 instance (default: the deployed one)",
        "region": "AWS region",
    },
)
def logs(
    context: Context,
    task: str = "",
    follow: bool = False,
    instance_id: list[str] | None = None,
    region: str = "",
) -> None:
    """Show what tasks wrote on a machine, whole."""
    from torchneuron.deploy import machine_setup

    machine_setup.show_logs(_machines(instance_id, "", region), task, follow=follow)


def _machines(instance_ids: Sequence[str] | None, tag: str, region: str) -> Targets:
    from torchneuron.core import options
    from torchneuron.deploy.machine_setup import Targets

    named = (one for given in instance_ids or () for one in options.several("--instance-id", given))
    return Targets(tuple(dict.fromkeys(named)), tag, region)
