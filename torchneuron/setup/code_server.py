"""The code-server setup: the task runner with this project's tasks, settings and password.

It also keeps the SHA-256 sums of the code-server packages that were first installed from here, in the state folder, by
version and architecture: a different package is not installed on any other machine (task 09), and is an error if it was
installed in the meantime. `codeServerSha256` in the settings takes precedence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torchneuron.aws.session import Aws
from torchneuron.core import files
from torchneuron.core.config import Config
from torchneuron.core.errors import InputError, SetupError
from torchneuron.core.schema import read_json
from torchneuron.setup import definition
from torchneuron.setup.failures import ResumeCommands
from torchneuron.setup.references import GIVEN, Reference
from torchneuron.setup.render import render
from torchneuron.setup.secret_values import SecretValues
from torchneuron.setup.state import StateStore
from torchneuron.setup.steps import Outcome
from torchneuron.setup.task_runs import RunOptions, run_task_file

TASK_FILE = definition.SHIPPED
NO_PASSWORD = Reference(GIVEN, "no-password")
"""Placeholder for rendering the tasks before there is a password."""
INSTALL_TASK = "09-install-code-server"
_INSTALLED = re.compile(
    r"code-server (?P<version>\S+) is installed \((?P<architecture>[a-z0-9]+), SHA-256 (?P<sum>[0-9a-f]{64})\)"
)


def variables(config: Config, password: Reference, *, data_volume: str = "", is_open: bool = False) -> dict[str, str]:
    """Values of the code-server tasks' variables.

    `data_volume` is the id of the EBS volume for the home folder; empty for the root volume. `is_open`: nginx also
    serves other hosts.
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
        "CODE_SERVER_SHA256": _join(config.code_server_sha256),
        "FIRST_SHA256": _join(known_sums(config)),
        "EXTENSIONS": " ".join(config.extensions),
        "PASSWORD": str(password),
    }


def _join(sums: Mapping[str, str]) -> str:
    return " ".join(f"{architecture}={sums[architecture]}" for architecture in sorted(sums))


@dataclass(frozen=True)
class Progress:
    """Number of code-server tasks, and of those known here to have finished."""

    finished: int
    tasks: int


def progress(config: Config, instance_ids: Iterable[str]) -> dict[str, Progress]:
    """Progress by instance id, from the local state files: somebody else's run may be further."""
    tasks = {task.id for task in definition.load(TASK_FILE).tasks}
    finished = {instance_id: StateStore(config.state_dir, instance_id).load().finished for instance_id in instance_ids}
    return {instance_id: Progress(len(tasks & done.keys()), len(tasks)) for instance_id, done in finished.items()}


def check(config: Config) -> None:
    """Raises InputError for settings that the code-server tasks refuse."""
    task_file = definition.load(TASK_FILE)
    render(task_file, definition.fill(task_file, variables(config, NO_PASSWORD)))


def setup(
    config: Config,
    aws: Aws,
    instance_ids: Sequence[str],
    options: RunOptions,
    resume: ResumeCommands,
    *,
    password: Reference,
    secret_values: SecretValues | None,
    data_volumes: Mapping[str, str],
    opened: Collection[str],
) -> tuple[Outcome, ...]:
    """Set up code-server on instances, each with its home folder on its data volume, if any.

    `secret_values` has the password for machines that cannot read it from a secret. Those in `opened` also serve other
    hosts. Returns and raises as `run_task_file`; raises SetupError for a code-server package that differs from the
    first.
    """
    values = {
        instance_id: variables(
            config, password, data_volume=data_volumes.get(instance_id, ""), is_open=instance_id in opened
        )
        for instance_id in instance_ids
    }
    return run_task_file(
        config,
        aws,
        definition.load(TASK_FILE),
        values,
        options,
        resume,
        secret_values,
        ended=lambda outcomes: record_sums(config, outcomes),
    )


def known_sums(config: Config) -> dict[str, str]:
    """The sum of the package of the settings' code-server version, by architecture.

    Raises InputError for a file that cannot be read.
    """
    return dict(_read_sums(config).get(config.code_server_version, {}))


def record_sums(config: Config, outcomes: Iterable[Outcome]) -> None:
    """Keep the sums of packages that were installed for the first time.

    Raises SetupError if a machine has a different package than the first one.
    """
    sums, is_changed = _read_sums(config), False
    for outcome in outcomes:
        if not (installed := _INSTALLED.fullmatch(outcome.last_lines.get(INSTALL_TASK, ""))):
            continue
        of_version = sums.setdefault(installed["version"], {})
        is_changed |= installed["architecture"] not in of_version
        first = of_version.setdefault(installed["architecture"], installed["sum"])
        if first != installed["sum"]:
            raise SetupError(
                f"{outcome.instance_id} has a different code-server {installed['version']} than the first machine.",
                why=f"The SHA-256 sum of its package is {installed['sum']}; that of the first one was {first}.",
                do=f"Do not use the machine until you know which is right. {_sums_file(config)} holds the first sum.",
            )
    if is_changed:
        files.write_atomically(_sums_file(config), json.dumps(sums, indent=2) + "\n")


def _sums_file(config: Config) -> Path:
    return config.state_dir / "code-server-packages.json"


def _read_sums(config: Config) -> dict[str, dict[str, str]]:
    path = _sums_file(config)
    if not path.exists():
        return {}
    document = read_json(path)
    if not isinstance(document, dict) or not all(isinstance(sums, dict) for sums in document.values()):
        raise InputError(f"{path} does not hold sums of packages.", do="Restore it, or remove it to start over.")
    return document
