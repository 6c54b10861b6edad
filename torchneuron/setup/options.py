"""Options of `invoke setup`, `run-tasks` and `setup.logs`."""

from __future__ import annotations

from dataclasses import dataclass

from torchneuron.core.options import flag, option, repeatable


@dataclass(frozen=True)
class TargetOptions:
    """Which machines a command is for."""

    instance_id: tuple[str, ...] = repeatable(
        "Instance that Systems Manager manages; repeat for several [default: all deployed machines]"
    )
    region: str = option("AWS region [default: the settings' default region]")


@dataclass(frozen=True)
class TaskRunOptions(TargetOptions):
    """What `invoke setup` and `run-tasks` share."""

    tag: str = option("KEY=VALUE: all running instances with this tag")
    start_from: str = option("Start at this task: its id or a unique prefix")
    only: str = option("Run only this task: its id or a unique prefix")
    clean_state: bool = flag("Run all tasks again, finished ones as well")
    wait: bool = flag("Wait up to 10 minutes until Systems Manager reaches the instances")
    cancel: bool = flag("Cancel what is under way")
    dry_run: bool = flag("Show what would run, and change nothing")
    mode: str = option(
        "document (one command for all tasks), step (a command for each task) or auto (document if permitted)"
        " [default: auto]",
        default="auto",
    )
    max_concurrency: str = option("How many machines run at once: a number or a percentage [default: all]")
    max_errors: str = option("How many machines may fail before no more start: a number or a percentage [default: all]")
    output: str = option("table, or json (one event a line) [default: table]", default="table")


@dataclass(frozen=True)
class SetupOptions(TaskRunOptions):
    """Options of `invoke setup`. `password` is True if it is to be asked for."""

    secret_arn: str = option("Secrets Manager secret with the password [default: the deployment's secret]")
    password: str | bool = option("Set this password; without a value, prompt for it", value_is_optional=True)
    random_password: bool = flag("Generate a password and show it once")


@dataclass(frozen=True)
class RunTasksOptions(TaskRunOptions):
    """Options of `invoke run-tasks`."""

    file: str = option("Task file (JSON)")
    var: tuple[str, ...] = repeatable(
        "NAME=VALUE for a variable of the file; for a secret NAME=secretsmanager:ARN, ssm:/NAME, @FILE or env:NAME;"
        " repeatable",
    )


@dataclass(frozen=True)
class LogsOptions(TargetOptions):
    """Options of `invoke setup.logs`."""

    task: str = option("Id of the task or a unique prefix [default: all tasks]")
    follow: bool = flag("Print new output until the run under way ends")
