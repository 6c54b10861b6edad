"""The code-server setup: the general runner with this project's tasks, settings and password."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torchneuron.aws.session import Aws
from torchneuron.core.config import Config
from torchneuron.setup import definition, package_sums
from torchneuron.setup.delivery import Given
from torchneuron.setup.failures import Words
from torchneuron.setup.monitor import Outcome
from torchneuron.setup.references import GIVEN, Reference
from torchneuron.setup.render import render
from torchneuron.setup.state import StateStore
from torchneuron.setup.task_runs import RunOptions, run_task_file

TASK_FILE = definition.SHIPPED
NO_PASSWORD = Reference(GIVEN, "no-password")
"""For looking at the setup before there is a password."""


def variables(config: Config, password: Reference, *, data_volume: str = "", is_open: bool = False) -> dict[str, str]:
    """The values of the code-server tasks' variables; of the password, where the machine gets it.

    `data_volume` is the id of the EBS volume that the home folder is on; empty for the root volume. `is_open`: nginx is
    for other hosts, too.
    """
    return {
        "USER": config.code_server_user,
        "HOME_DIR": config.home_folder,
        "DATA_VOLUME": data_volume,
        "INTERNAL_PORT": str(config.internal_port),
        "NGINX_PORT": str(config.nginx_port),
        "NGINX_LISTEN": "everywhere" if is_open else "loopback",
        "TLS": config.tls,
        "TLS_CERTIFICATE": config.tls_certificate,
        "TLS_KEY": config.tls_key,
        "CODE_SERVER_VERSION": config.code_server_version,
        "CODE_SERVER_SHA256": _sums(config.code_server_sha256),
        "FIRST_SHA256": _sums(package_sums.known(config)),
        "EXTENSIONS": " ".join(config.extensions),
        "PASSWORD": str(password),
    }


def _sums(by_architecture: Mapping[str, str]) -> str:
    return " ".join(f"{architecture}={by_architecture[architecture]}" for architecture in sorted(by_architecture))


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
    render(task_file, definition.fill(task_file, variables(config, NO_PASSWORD)))


def setup(
    config: Config,
    aws: Aws,
    instance_ids: Sequence[str],
    options: RunOptions,
    words: Words,
    *,
    password: Reference,
    given: Given | None,
    data_volumes: Mapping[str, str],
    opened: Collection[str],
) -> tuple[Outcome, ...]:
    """Set code-server up on instances, each with its home folder on its data volume, if it has one.

    `given`: the password, where the machines cannot read it from a secret. Those in `opened` serve other hosts, too.
    Returns as `run_task_file` does; raises SetupError as well for a package of code-server that is not the one first
    installed.
    """
    values = {
        one: variables(config, password, data_volume=data_volumes.get(one, ""), is_open=one in opened)
        for one in instance_ids
    }
    return run_task_file(
        config,
        aws,
        definition.load(TASK_FILE),
        values,
        options,
        words,
        given,
        ended=lambda outcomes: package_sums.record(config, outcomes),
    )
