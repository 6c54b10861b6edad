"""The folder of a region's deployment: the way to its state, and its configuration for Terraform.

Reading the state needs the settings only. `main.py` synthesizes the configuration for a plan, in another process, as
cdktf would run it: the library never imports cdktf.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from torchneuron.core import display, locks
from torchneuron.core.config import PROJECT_ROOT, Config, S3Backend
from torchneuron.core.errors import InputError, TerraformError
from torchneuron.core.processes import run_to_completion
from torchneuron.deploy import backend as backends
from torchneuron.deploy.adoption import LaunchRecord
from torchneuron.deploy.backend import Block
from torchneuron.deploy.state import State
from torchneuron.deploy.terraform import Terraform
from torchneuron.deploy.terraform_plan import MACHINE

# Enough for a command that only reads; a deploy or a removal takes longer, and is not waited for.
_BUSY_SECONDS = 15.0


class Workspace:
    """The folder where Terraform works for one region.

    Each region has its own, apart from the one that plain `cdktf` writes. With `copy`, a file, that is the state in
    place of the settings' backend, in a folder of its own.
    """

    def __init__(self, config: Config, region: str, copy: Path | None = None) -> None:
        self._config = config
        self._region = region
        self._copy = copy
        self.folder = copy.parent if copy else _folder(config, region)
        backend = backends.local_file(str(copy)) if copy else backends.block(config.backend_for(region))
        self._backend: Block = backend
        self.terraform = Terraform(self.folder / "stacks" / config.project_name, backend)

    @property
    def launch_record(self) -> LaunchRecord:
        """The record of launches from the region's own folder: a dry run reads that one, and writes none."""
        folder = _folder(self._config, self._region) / "stacks" / self._config.project_name
        return LaunchRecord(folder / ".terraform")

    def state(self) -> State:
        """The deployment's state, read without a lock. Raises InputError if it belongs to another region."""
        state = self.terraform.state()
        _refuse_another_region(state, self._region)
        return state

    def synthesize(self, overrides: Mapping[str, Any]) -> None:
        """Write the configuration for a deployment with `overrides`, by running main.py with them as CDKTF's context.

        Raises TerraformError.
        """
        environment = {
            **os.environ,
            "TORCHNEURON_CONFIG": str(self._config.path),
            "CDKTF_CONTEXT_JSON": json.dumps(overrides),
            "CDKTF_OUTDIR": str(self.folder),
            "CHECKPOINT_DISABLE": "1",
        }
        with display.waiting("Synthesizing"):
            command = [sys.executable, str(PROJECT_ROOT / "main.py")]
            done = run_to_completion(command, folder=PROJECT_ROOT, environment=environment)
        if done.status != 0:
            raise TerraformError("Synthesis failed.", why=done.stderr.strip()[-4000:])
        if self._copy:
            self._edit(lambda document: _with_backend(document, self._backend))
        self.terraform.initialize()

    def add_imports(self, ids: Mapping[str, str]) -> None:
        """Have the next plan import existing resources: their ids, by the address each gets."""
        blocks = [{"to": address, "id": identity} for address, identity in ids.items()]
        self._edit(lambda document: {**document, "import": blocks})

    def prepare_removal(self, machines: int) -> None:
        """Write what Terraform needs for a removal: the provider, and `machines` addresses to import to.

        No synthesis: it would need an AMI and a block, which may be gone.
        """
        configuration: dict[str, Any] = {"provider": {"aws": [{"region": self._region}]}}
        if machines:
            configuration["resource"] = {MACHINE: {"machine": {"count": machines}}}
        self.terraform.write(configuration)
        self.terraform.initialize()

    def _edit(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        path = self.terraform.configuration
        path.write_text(json.dumps(change(json.loads(path.read_text()))))


def _with_backend(document: Mapping[str, Any], backend: Block) -> dict[str, Any]:
    kept = {name: value for name, value in document["terraform"].items() if name not in ("backend", "cloud")}
    return {**document, "terraform": {**kept, **backend}}


def _folder(config: Config, region: str) -> Path:
    return config.output_dir / "invoke" / region


def _locked(config: Config, region: str) -> AbstractContextManager[None]:
    """The lock on the region's folder. Raises BusyError."""
    lock = _folder(config, region).with_name(f"{region}.lock")
    return locks.held(lock, f"the deployment in {region}", seconds=_BUSY_SECONDS)


@contextmanager
def connected(config: Config, region: str) -> Iterator[Workspace]:
    """The region's workspace, connected to its state, for this process alone: it holds one plan at a time."""
    refuse_without_state(config, region)
    with _locked(config, region):
        workspace = Workspace(config, region)
        workspace.terraform.connect()
        workspace.terraform.recover()
        yield workspace


def read_state(config: Config, region: str) -> State:
    """The region's state, also while another command works on the deployment.

    The lock is taken only to connect the folder, or to save a state that an earlier run could not save. Raises
    InputError, TerraformError and BusyError.
    """
    refuse_without_state(config, region)
    workspace = Workspace(config, region)
    if workspace.terraform.is_connected and not workspace.terraform.has_unsaved_state:
        return workspace.state()
    with connected(config, region) as workspace:
        return workspace.state()


@contextmanager
def copied(config: Config, region: str) -> Iterator[Workspace]:
    """The region's workspace on a copy of its state, for a dry run: the state is read without a lock, and not changed.

    The steps up to the plan are then the same as without a dry run.
    """
    refuse_without_state(config, region)
    folder = _folder(config, region).with_name(f"{region}-dry-run")
    lock = folder.with_name(f"{region}-dry-run.lock")
    with locks.held(lock, f"the dry run in {region}", seconds=_BUSY_SECONDS):
        copy = folder / "copy.tfstate"
        _discard(copy)
        try:
            _copy_state(config, region, copy)
            workspace = Workspace(config, region, copy)
            workspace.terraform.connect()
            yield workspace
        finally:
            _discard(copy)


def _discard(copy: Path) -> None:
    """Delete a copied state, and the backups that Terraform makes of it."""
    for path in copy.parent.glob(f"{copy.name}*"):
        path.unlink()


def _copy_state(config: Config, region: str, copy: Path) -> None:
    workspace = Workspace(config, region)
    if not workspace.terraform.is_connected:
        with _locked(config, region):
            workspace.terraform.connect()
    copy.parent.mkdir(parents=True, exist_ok=True)
    if text := workspace.terraform.pull().strip():
        copy.write_text(text)
    if workspace.terraform.has_unsaved_state:
        display.warn("an earlier run could not save its state: the command itself saves it first, then plans.")


def refuse_without_state(config: Config, region: str) -> None:
    backend = config.backend_for(region)
    if isinstance(backend, S3Backend) and backend.bucket is None:
        raise InputError(
            "There is no state bucket yet.",
            why="Terraform keeps its state in S3, and the settings name no bucket.",
            do=f"Run: invoke bootstrap -r {region}",
        )


def _refuse_another_region(state: State, region: str) -> None:
    """Raise InputError for a workspace that serves two regions: the machines of the other would seem to be gone."""
    found = state.outputs.get("region", region)
    if found != region:
        raise InputError(
            f"This state holds the deployment in {found}, not one in {region}.",
            do='Give each region a workspace of its own: "workspace": "a-name-{region}" in the settings.',
        )
