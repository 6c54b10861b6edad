"""The code-server setup: the general runner with this project's tasks, settings and password."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torchneuron import display
from torchneuron.aws import Aws
from torchneuron.config import PROJECT_ROOT, Config
from torchneuron.errors import InputError
from torchneuron.passwords import Hashes
from torchneuron.setup import definition, report, syntax
from torchneuron.setup.commands import Commands
from torchneuron.setup.definition import TaskFile
from torchneuron.setup.plan import make_plan
from torchneuron.setup.reach import wait_until_online
from torchneuron.setup.render import render
from torchneuron.setup.run import Outcome, Runner, pending_scripts
from torchneuron.setup.state import State, StateStore

TASK_FILE = PROJECT_ROOT / "setup_tasks" / "code-server-setup.json"
_ONLINE_SECONDS = 600
# In the form the tasks want, of no password at all: for looking at the setup before there is one.
NO_HASHES = Hashes(
    code_server=f"$argon2id$v=19$m=65536,t=3,p=4${'A' * 22}${'A' * 43}",
    account=f"$6$rounds=100000${'A' * 16}${'.' * 86}",
)


@dataclass(frozen=True)
class RunOptions:
    """What both `invoke setup` and `invoke run-tasks` take."""

    instance_id: str
    start_from: str | None = None
    dry_run: bool = False
    clean_state: bool = False
    wait: bool = False


def variables(config: Config, hashes: Hashes, *, data_volume: str = "") -> dict[str, str]:
    """The values of the code-server tasks' variables. The password itself is not among them.

    `data_volume` is the id of the EBS volume that the home folder is on; empty for the root volume.
    """
    return {
        "USER": config.code_server_user,
        "HOME_DIR": config.home_folder,
        "DATA_VOLUME": data_volume,
        "INTERNAL_PORT": str(config.internal_port),
        "NGINX_PORT": str(config.nginx_port),
        "CODE_SERVER_VERSION": config.code_server_version,
        "CODE_SERVER_PASSWORD_HASH": hashes.code_server,
        "ACCOUNT_PASSWORD_HASH": hashes.account,
    }


@dataclass(frozen=True)
class Progress:
    """How many of the code-server tasks are known, on this machine, to have finished."""

    finished: int
    tasks: int


def progress(config: Config, instance_ids: Iterable[str]) -> dict[str, Progress]:
    """How far the setup of each instance is, by the state kept here; somebody else's run may be further."""
    tasks = {task.id for task in definition.load(TASK_FILE).tasks}
    finished = {one: StateStore(config.state_dir, one).load().finished for one in instance_ids}
    return {one: Progress(len(tasks & done.keys()), len(tasks)) for one, done in finished.items()}


def check(config: Config) -> None:
    """Raises InputError for settings that the code-server tasks refuse, before there is a machine."""
    task_file = definition.load(TASK_FILE)
    render(task_file, definition.fill(task_file, variables(config, NO_HASHES)))


def setup(
    config: Config, aws: Aws, options: RunOptions, hashes: Hashes, *, again: str, data_volume: str = ""
) -> Outcome | None:
    """Set code-server up on an instance, its home folder on `data_volume` if there is one.

    None after a dry run, which touches nothing.
    """
    given = variables(config, hashes, data_volume=data_volume)
    return run_task_file(config, aws, definition.load(TASK_FILE), given, options, again=again)


def run_task_file(
    config: Config,
    aws: Aws,
    task_file: TaskFile,
    given: Mapping[str, str],
    options: RunOptions,
    *,
    again: str,
) -> Outcome | None:
    """Run a task file on an instance. Everything is checked before anything is sent.

    `again` is the command line that resumes, whole, for messages.
    """
    tasks = render(task_file, definition.fill(task_file, given))
    store = StateStore(config.state_dir / _folder(task_file.path), options.instance_id)
    if options.dry_run:
        state = State() if options.clean_state else store.load()
        plan = make_plan(tasks, state.digests, start_from=options.start_from)
        scripts = pending_scripts(plan)
        report.show_dry_run(plan, scripts, options.instance_id, syntax.check(plan.pending))
        return None
    ssm = aws.ssm()
    with display.waiting(f"Waiting for Systems Manager to reach {options.instance_id}"):
        wait_until_online(aws, [options.instance_id], seconds=_ONLINE_SECONDS if options.wait else 0)
    with report.monitor() as monitor:
        runner = Runner(
            Commands(ssm, aws.ssm_once(), options.instance_id),
            store,
            monitor,
            instance_id=options.instance_id,
            region=aws.region,
            again=again,
        )
        outcome = runner.run(tasks, start_from=options.start_from, clean=options.clean_state)
    report.show_outcome(outcome)
    return outcome


def _folder(path: Path) -> str:
    """The code-server setup's state lies in the state directory itself, other task files' beside it."""
    return "" if path == TASK_FILE else path.stem


def parse_variables(pairs: list[str]) -> dict[str, str]:
    """`NAME=VALUE` arguments as a mapping. Raises InputError for one without a `=`."""
    values = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise InputError(f"{pair!r} is not NAME=VALUE.", do="Give --var NAME=VALUE, once a variable.")
        values[name] = value
    return values
