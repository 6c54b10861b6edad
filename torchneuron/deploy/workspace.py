"""The folder of a region's deployment: its configuration synthesized for Terraform, and the way to its state.

`main.py` runs as another process, as cdktf would run it: the library never imports cdktf.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torchneuron.core import display, locks
from torchneuron.core.config import PROJECT_ROOT, Config, S3Backend
from torchneuron.core.errors import InputError, TerraformError
from torchneuron.core.processes import run_to_its_end
from torchneuron.deploy.terraform import Terraform

# Long enough for a command that only looks; one that deploys or removes takes longer, and is not waited for.
_BUSY_SECONDS = 15.0
LOOKING = {"dataVolumeSize": 0, "allowedIps": [], "remember": False}
"""One-off settings that hold for any deployment: for connecting to its state, and for removing it."""


class Project:
    """The folder of a region's deployment, where its configuration is synthesized for Terraform.

    Each region has a folder of its own, apart from the one plain `cdktf` writes.
    """

    def __init__(self, config: Config, region: str, folder: Path | None = None) -> None:
        self._config = config
        self._region = region
        self.folder = folder or _folder(config, region)
        # Enough to connect to the state, whatever the choices are: they are read from there.
        self.terraform = self.synthesize({**LOOKING, "region": region})

    def outputs(self) -> dict[str, Any]:
        """What the state says is deployed. Raises InputError when that is another region's."""
        found = self.terraform.outputs()
        _refuse_another_region(found, self._region)
        return found

    def synthesize(self, overrides: Mapping[str, Any]) -> Terraform:
        """Run main.py as cdktf would, with `overrides` as CDKTF's context."""
        environment = {
            **os.environ,
            "TORCHNEURON_CONFIG": str(self._config.path),
            "CDKTF_CONTEXT_JSON": json.dumps(overrides),
            "CDKTF_OUTDIR": str(self.folder),
            "CHECKPOINT_DISABLE": "1",
        }
        with display.waiting("Synthesizing"):
            command = [sys.executable, str(PROJECT_ROOT / "main.py")]
            done = run_to_its_end(command, folder=PROJECT_ROOT, environment=environment)
        if done.status != 0:
            raise TerraformError("Synthesis failed.", why=done.stderr.strip()[-4000:])
        return Terraform(_stack(self.folder, self._config))


class ProjectCopy(Project):
    """A deployment whose state is a copy on this machine: whatever is done to it changes nothing else.

    For dry runs: the same steps as a deploy's or a removal's, up to the plan. The state is read without its lock.
    """

    def __init__(self, config: Config, region: str) -> None:
        folder = _folder(config, region).with_name(f"{region}-dry-run")
        self._copy = folder / "copy.tfstate"
        self._attached = True
        self.discard()
        super().__init__(config, region, folder)
        self.terraform.forget_backend()
        self.terraform.init()
        state = self.terraform.pull()
        if state.strip():
            self._copy.write_text(state)
        self._attached = False
        self.terraform.forget_backend()
        self.terraform.detach(self._copy)
        self.terraform.init()
        if Terraform(_stack(_folder(config, region), config)).has_unsaved_state:
            display.warn("an earlier run could not save its state: the command itself saves it first, then plans.")

    def synthesize(self, overrides: Mapping[str, Any]) -> Terraform:
        terraform = super().synthesize(overrides)
        if not self._attached:
            terraform.detach(self._copy)
        return terraform

    def discard(self) -> None:
        """Remove the copy, and the backups that Terraform makes of it."""
        for path in self._copy.parent.glob(f"{self._copy.name}*"):
            path.unlink()


def _stack(folder: Path, config: Config) -> Path:
    return folder / "stacks" / config.project_name


def _folder(config: Config, region: str) -> Path:
    return config.output_dir / "invoke" / region


@contextmanager
def connected(config: Config, region: str) -> Iterator[Project]:
    """The region's deployment, connected to its state, and nobody else's meanwhile.

    Its folder holds one synthesis and one plan at a time, hence the lock.
    """
    refuse_without_state(config, region)
    folder = _folder(config, region)
    with locks.held(folder.with_name(f"{region}.lock"), f"the deployment in {region}", seconds=_BUSY_SECONDS):
        project = Project(config, region)
        project.terraform.init()
        project.terraform.recover()
        yield project


@contextmanager
def copied(config: Config, region: str) -> Iterator[Project]:
    """The region's deployment on a copy of its state, for a dry run."""
    refuse_without_state(config, region)
    folder = _folder(config, region)
    name = f"the dry run in {region}"
    with locks.held(folder.with_name(f"{region}-dry-run.lock"), name, seconds=_BUSY_SECONDS):
        project = ProjectCopy(config, region)
        try:
            yield project
        finally:
            project.discard()


def refuse_without_state(config: Config, region: str) -> None:
    backend = config.backend_for(region)
    if isinstance(backend, S3Backend) and backend.bucket is None:
        raise InputError(
            "There is no state bucket yet.",
            why="Terraform keeps what it has made in S3, and the settings name no bucket.",
            do=f"Run: invoke bootstrap -r {region}",
        )


def _refuse_another_region(outputs: Mapping[str, Any], region: str) -> None:
    """A workspace that serves two regions would have the machines of the first taken for gone."""
    there = outputs.get("region", region)
    if there != region:
        raise InputError(
            f"This state holds the deployment in {there}, not one in {region}.",
            do='Give each region a workspace of its own: "workspace": "a-name-{region}" in the settings.',
        )
