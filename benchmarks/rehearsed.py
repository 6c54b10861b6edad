"""A rehearsal's AWS for benchmarks: run as a program, never imported."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pairs import BenchmarkError
from torchneuron.core.config import CONFIG_VARIABLE, PROJECT_ROOT

REGION = "sa-east-1"
_START_SECONDS = 60
_MIRROR = """\
import pathlib, sys
from rehearsal.scenarios.terraform_mirror import write_cli_config
print(write_cli_config(pathlib.Path(sys.argv[1])) or "", end="")
"""


@dataclass(frozen=True)
class Rehearsal:
    """A running rehearsal, and the environment for programs that use it."""

    endpoint: str
    token: str
    variables: Mapping[str, str]

    def aws(self, *words: str) -> str:
        """The output of the AWS CLI."""
        command = [script("aws"), *words, "--region", REGION, "--output", "text"]
        done = subprocess.run(command, env=self.variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"{shlex.join(command)} failed.", why=done.stderr)
        return done.stdout.strip()

    def calls(self, service: str) -> dict[str, int]:
        """The number of calls to each operation of a service."""
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(f"{self.endpoint}/_rehearsal/calls", headers=headers)
        with urllib.request.urlopen(request) as response:
            counted: dict[str, Any] = json.load(response)
        return dict(counted.get(service, {}))


def start(
    folder: Path, environment: Mapping[str, str], endings: ExitStack, options: Sequence[str], **settings: Any
) -> Rehearsal:
    """Start a rehearsal in `folder`, with the project's settings changed by `settings`; it ends with `endings`."""
    ready, path = folder / "ready.json", folder / "config.json"
    document = json.loads((PROJECT_ROOT / "config.json").read_text())
    path.write_text(json.dumps({**document, "stateDir": str(folder / "state"), **settings}))
    process = subprocess.Popen(
        [sys.executable, "-m", "rehearsal", *options, "--ready-file", str(ready), "--with-parent"],
        cwd=PROJECT_ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    endings.callback(process.wait)
    endings.callback(process.terminate)
    end = time.monotonic() + _START_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise BenchmarkError("The rehearsal did not start.")
        time.sleep(0.05)
    access = json.loads(ready.read_text())
    keys = {"AWS_ACCESS_KEY_ID": access["access_key_id"], "AWS_SECRET_ACCESS_KEY": access["secret_access_key"]}
    where = {"AWS_ENDPOINT_URL": access["endpoint"], "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}
    variables = {**environment, **keys, **where, CONFIG_VARIABLE: str(path)}
    return Rehearsal(access["endpoint"], access["token"], variables)


def terraform_variables(folder: Path) -> dict[str, str]:
    """Variables that have Terraform take its provider from this machine, if it is here."""
    command = [sys.executable, "-c", _MIRROR, str(folder)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    return {"CHECKPOINT_DISABLE": "1", **({"TF_CLI_CONFIG_FILE": done.stdout} if done.stdout else {})}


def script(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)
