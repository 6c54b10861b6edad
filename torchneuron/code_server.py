"""The code-server setup: the general runner with this project's tasks, settings and password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torchneuron import display, passwords
from torchneuron.aws import Aws
from torchneuron.config import PROJECT_ROOT, Config
from torchneuron.errors import InputError
from torchneuron.setup import definition, report, syntax
from torchneuron.setup.commands import Commands, wait_until_online
from torchneuron.setup.plan import make_plan
from torchneuron.setup.render import render
from torchneuron.setup.run import Outcome, Runner, pending_scripts
from torchneuron.setup.state import State, StateStore

TASK_FILE = PROJECT_ROOT / "setup_tasks" / "code-server-setup.json"
_ONLINE_SECONDS = 600


@dataclass(frozen=True)
class RunOptions:
    """What both `invoke setup` and `invoke run-tasks` take."""

    instance_id: str
    start_from: str | None = None
    dry_run: bool = False
    clean_state: bool = False
    wait: bool = False


def variables(config: Config, password: str, instance_id: str) -> dict[str, str]:
    """The values of the code-server tasks' variables. The password itself is not among them."""
    hashes = passwords.hash_password(password, instance_id=instance_id)
    return {
        "USER": config.code_server_user,
        "HOME_DIR": config.home_folder,
        "INTERNAL_PORT": str(config.internal_port),
        "NGINX_PORT": str(config.nginx_port),
        "CODE_SERVER_VERSION": config.code_server_version,
        "CODE_SERVER_PASSWORD_HASH": hashes.code_server,
        "ACCOUNT_PASSWORD_HASH": hashes.account,
    }


def setup(config: Config, aws: Aws, options: RunOptions, password: str) -> Outcome | None:
    """Set code-server up on an instance. None after a dry run, which touches nothing."""
    given = variables(config, password, options.instance_id)
    return run_task_file(config, aws, TASK_FILE, given, options, again="invoke setup")


def run_task_file(
    config: Config,
    aws: Aws,
    path: Path,
    given: Mapping[str, str],
    options: RunOptions,
    *,
    again: str = "invoke run-tasks",
) -> Outcome | None:
    """Run the task file at `path` on an instance. Everything is checked before anything is sent."""
    task_file = definition.load(path)
    tasks = render(task_file, definition.fill(task_file, given))
    store = StateStore(config.state_dir / _folder(path), options.instance_id)
    if options.dry_run:
        state = State() if options.clean_state else store.load()
        plan = make_plan(tasks, state.digests, start_from=options.start_from)
        scripts = pending_scripts(plan)
        report.show_dry_run(plan, scripts, options.instance_id, syntax.check(plan.pending))
        return None
    ssm = aws.ssm()
    with display.waiting(f"Waiting for Systems Manager to reach {options.instance_id}"):
        wait_until_online(ssm, options.instance_id, seconds=_ONLINE_SECONDS if options.wait else 0)
    with report.monitor() as monitor:
        runner = Runner(
            Commands(ssm, options.instance_id),
            store,
            monitor,
            instance_id=options.instance_id,
            region=aws.region,
            again=f"{again} -i {options.instance_id} -r {aws.region}",
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
