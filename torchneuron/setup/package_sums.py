"""The SHA-256 sums of code-server's packages as they were first installed from here, by version and architecture.

Kept in the state folder. A package that differs from the first is not installed on any further machine (task 09), and
one that was installed meanwhile is an error. `codeServerSha256` in the settings comes before what is known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from torchneuron.core import files
from torchneuron.core.config import Config
from torchneuron.core.errors import InputError, SetupError
from torchneuron.core.schema import read_json
from torchneuron.setup.monitor import Outcome

TASK = "09-install-code-server"
_SAID = re.compile(
    r"code-server (?P<version>\S+) is installed \((?P<architecture>[a-z0-9]+), SHA-256 (?P<sum>[0-9a-f]{64})\)"
)


def known(config: Config) -> dict[str, str]:
    """By architecture, the sum of the settings' version of code-server; empty before the first installation.

    Raises InputError for a file that cannot be read.
    """
    return dict(_read(config).get(config.code_server_version, {}))


def record(config: Config, outcomes: Iterable[Outcome]) -> None:
    """Keep the sums of what was installed for the first time.

    Raises SetupError where a machine has another package than the first one had.
    """
    sums, changed = _read(config), False
    for outcome in outcomes:
        if not (said := _SAID.fullmatch(outcome.said.get(TASK, ""))):
            continue
        of_version = sums.setdefault(said["version"], {})
        changed |= said["architecture"] not in of_version
        first = of_version.setdefault(said["architecture"], said["sum"])
        if first != said["sum"]:
            raise SetupError(
                f"The code-server {said['version']} on {outcome.instance_id} is not the one installed before.",
                why=f"Its package's SHA-256 sum is {said['sum']}; that of the first installation was {first}.",
                do=f"Do not use the machine until you know which is right. The first one is kept in {_file(config)}.",
            )
    if changed:
        files.write_atomically(_file(config), json.dumps(sums, indent=2) + "\n")


def _file(config: Config) -> Path:
    return config.state_dir / "code-server-packages.json"


def _read(config: Config) -> dict[str, dict[str, str]]:
    path = _file(config)
    if not path.exists():
        return {}
    document = read_json(path)
    if not isinstance(document, dict) or not all(isinstance(sums, dict) for sums in document.values()):
        raise InputError(f"{path} does not hold sums of packages.", do="Restore it, or remove it to begin anew.")
    return document
