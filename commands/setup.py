"""Tasks on machines: `invoke setup`, `setup.logs`, `run-tasks`."""

from __future__ import annotations

from commands.command import command
from torchneuron.setup.options import LogsOptions, RunTasksOptions, SetupOptions


@command(SetupOptions)
def setup(options: SetupOptions) -> None:
    """Set up code-server on one machine or many; resumes where an earlier run stopped.

    Example: invoke setup --start-from 09
    Example: invoke setup -i i-0123456789abcdef0 --random-password
    """
    from torchneuron.deploy import machine_setup

    machine_setup.set_up(options)


@command(RunTasksOptions)
def run_tasks(options: RunTasksOptions) -> None:
    """Run a task file on machines, with everything that setup offers.

    Example: invoke run-tasks --file tasks.json --tag Team=ml --var MODEL=llama
    """
    from torchneuron.deploy import machine_setup

    machine_setup.run_tasks(options)


@command(LogsOptions)
def logs(options: LogsOptions) -> None:
    """Show the whole output of a task, or of all tasks, from a machine.

    Example: invoke setup.logs 09 --follow
    """
    from torchneuron.deploy import machine_setup

    machine_setup.show_logs(options)
