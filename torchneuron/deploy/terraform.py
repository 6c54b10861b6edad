"""Runs Terraform in a deployment's folder and reads what it reports.

Every command that needs the provider hashes its 700 MB first, so the number of runs is kept low: `init` only when the
folder is not connected yet, the state without the provider, one plan and one apply.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from torchneuron.core import display, files
from torchneuron.core.errors import InputError, TerraformError
from torchneuron.core.processes import Finished, run_to_completion
from torchneuron.core.text import quoted
from torchneuron.core.versions import AWS_PROVIDER, MINIMUM_TERRAFORM, REQUIRED_TERRAFORM
from torchneuron.deploy import backend as backends
from torchneuron.deploy import state as states
from torchneuron.deploy import terraform_failures
from torchneuron.deploy import terraform_plan as plans
from torchneuron.deploy.backend import Block, Place
from torchneuron.deploy.state import State
from torchneuron.deploy.terraform_failures import LockedError
from torchneuron.deploy.terraform_plan import Plan

PLAN_FILE = "torchneuron.tfplan"
# Where Terraform leaves the state of an apply that could not upload it.
_ERRORED_STATE = "errored.tfstate"


class Terraform:
    """Terraform in one folder, for the state that `backend` names.

    The folder holds `cdk.tf.json`: at first the backend and the provider only, enough to connect; then what a plan is
    made from. The state is read in a folder below, which has no provider.
    """

    def __init__(self, folder: Path, backend: Block) -> None:
        self._folder = folder
        self._backend = backend
        self._in_a_shell = shlex.quote(str(folder))
        if shutil.which("terraform") is None:
            raise InputError(
                "Terraform is not installed.",
                do=f"Install Terraform {MINIMUM_TERRAFORM} or newer: https://developer.hashicorp.com/terraform/install",
            )

    @property
    def data_folder(self) -> Path:
        """Terraform's own records of this folder."""
        return self._folder / ".terraform"

    @property
    def configuration(self) -> Path:
        return self._folder / "cdk.tf.json"

    @property
    def has_unsaved_state(self) -> bool:
        """Whether an earlier apply could not upload its state: `recover` does."""
        return (self._folder / _ERRORED_STATE).exists()

    @property
    def is_connected(self) -> bool:
        """Whether `connect` has nothing to do."""
        return self._recorded_place() == backends.place(self._backend) and (
            backends.part_of(self._initialized()) == self._backend
        )

    def connect(self) -> None:
        """Connect the folder to its backend, once. Raises TerraformError, and InputError without a token for it.

        A change of backend, bucket or workspace is refused: Terraform would forget the machine in the old state.
        """
        before, now = self._recorded_place(), backends.place(self._backend)
        if before and before != now:
            self.write({})  # for the command that moves the state
            raise TerraformError(
                f"This deployment's state is in {before.name}, and the settings now say {now.name}.",
                why="Terraform would treat everything in the old state, a running machine included, as missing.",
                do=f"Restore the settings, or move the state: {self._ways_to_move({before.kind, now.kind})}\n"
                f"If nothing is deployed from the old state: rm -r {self._in_a_shell}/.terraform",
            )
        if not self.is_connected:
            self.write({})
            self.initialize()

    def write(self, configuration: Mapping[str, Any]) -> None:
        """Write a configuration with this backend and the provider."""
        block = self._initialized()
        if backends.part_of(block) != self._backend:
            provider = {"aws": {"source": "aws", "version": AWS_PROVIDER}}
            block = {
                **self._backend,
                "required_providers": provider,
                "required_version": REQUIRED_TERRAFORM,
            }
        self.configuration.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(self.configuration, json.dumps({"terraform": block, **configuration}, indent=2))

    def initialize(self) -> None:
        """Run `init`, unless it has run for the same backend and provider. Raises TerraformError and InputError."""
        wanted = json.loads(self.configuration.read_text())["terraform"]
        if wanted == self._initialized() and self._recorded_place():
            return
        # HCP Terraform keeps no settings that could be reconfigured, and refuses the option.
        options = [] if self._is_cloud else ["-reconfigure"]
        with display.waiting("terraform init"):
            self._quietly("init", "-input=false", "-no-color", *options)
        files.write_atomically(self._record, json.dumps(wanted))

    def recover(self) -> None:
        """Upload the state that an earlier apply could not upload. Raises TerraformError."""
        unsaved = self._folder / _ERRORED_STATE
        if not unsaved.exists():
            return
        try:
            self._quietly("state", "push", _ERRORED_STATE)
        except LockedError:
            raise
        except TerraformError as error:
            aside = shlex.quote(str(unsaved.with_suffix(".old")))
            raise TerraformError(
                f"An earlier run could not save its state, and it cannot be saved now: it is in {unsaved}.",
                why=error.why,
                do="If another run has changed the deployment since, the newer state is right. Then move this one"
                f" away, and run the same command again:\n  mv {shlex.quote(str(unsaved))} {aside}",
            ) from error
        unsaved.unlink()
        display.note("An earlier run could not save its state; it is saved now.")

    def pull(self) -> str:
        """The state's text, read without a lock; empty where there is none yet. Raises TerraformError."""
        folder = self.data_folder / "state-only"
        folder.mkdir(exist_ok=True)
        configuration = folder / "main.tf.json"
        text = json.dumps({"terraform": {**self._backend, "required_version": REQUIRED_TERRAFORM}})
        if not configuration.exists() or configuration.read_text() != text:
            files.write_atomically(configuration, text)
        return self._quietly("state", "pull", folder=folder)

    def state(self) -> State:
        """The state, read without a lock. Raises TerraformError."""
        return states.parse(self.pull())

    def plan(self, state: State) -> Plan:
        """Plan, and save the plan for `apply`. What forces a replacement is read only if something would be lost."""
        plan = self._plan(state)
        if any(change.is_loss for change in plan.changes):
            return plans.from_json(json.loads(self._quietly("show", "-json", PLAN_FILE)))
        return plan

    def plan_removal(self, state: State, *, keep: Collection[str] = ()) -> Plan:
        """Plan to remove all of the state except the addresses to `keep`.

        Without any, the state is empty afterwards, outputs included. An empty state is planned as well: the lock shows
        whether another run is at work on it.
        """
        going = [address for address in state.resources if address not in keep]
        if state.resources and not going:
            return Plan(())
        targets = [f"-target={address}" for address in going] if len(going) < len(state.resources) else []
        try:
            return self._plan(state, "-destroy", *targets)
        except LockedError:
            raise
        except TerraformError:
            # A resource that cannot be read any more is no reason to keep the machine.
            return self._plan(state, "-destroy", "-refresh=false", *targets)

    def _plan(self, state: State, *options: str) -> Plan:
        with display.waiting("terraform plan"):
            arguments = ("plan", "-input=false", "-json", "-lock-timeout=60s", f"-out={PLAN_FILE}", *options)
            done = self._run(*arguments)
        events = [terraform_failures.event(line) for line in done.stdout.splitlines()]
        if done.status != 0:
            raise self._failure("terraform plan failed.", terraform_failures.errors_in(events) or done.stderr.strip())
        return plans.from_events(events, state.ids)

    def apply(self) -> Mapping[str, Any]:
        """Apply the saved plan, printing a line for each change. Returns the outputs. Raises TerraformError."""
        events: list[Mapping[str, Any]] = []

        def follow(line: str) -> None:
            event = terraform_failures.event(line)
            _show(event)
            events.append(event)

        with display.waiting("terraform apply"):
            done = self._run("apply", "-input=false", "-json", "-lock-timeout=60s", PLAN_FILE, on_line=follow)
        (self._folder / PLAN_FILE).unlink(missing_ok=True)
        if done.status != 0:
            raise self._failure(
                "Terraform could not apply the plan.",
                terraform_failures.errors_in(events) or done.stderr.strip(),
                do="What was created is in the state. Fix the cause, then run the same command again.",
            )
        reported = [event["outputs"] for event in events if event.get("type") == "outputs"]
        if not reported:
            return self.state().outputs
        return {name: output["value"] for name, output in reported[-1].items() if "value" in output}

    def import_resource(self, address: str, identity: str) -> None:
        """Import an existing resource into the state at once. Raises TerraformError."""
        with display.waiting(f"terraform import {quoted(identity)}"):
            self._quietly("import", "-input=false", "-no-color", "-lock-timeout=60s", address, identity)

    def untaint(self, address: str) -> None:
        """Keep a resource whose creation was interrupted. Raises TerraformError."""
        self._quietly("untaint", "-lock-timeout=60s", address)

    def forget(self, addresses: Collection[str]) -> None:
        """Remove resources from the state, and leave them in AWS. Raises TerraformError."""
        self._quietly("state", "rm", "-lock-timeout=60s", *addresses)

    @property
    def _is_cloud(self) -> bool:
        return "cloud" in self._backend

    @property
    def _record(self) -> Path:
        """The `terraform` block of the last `init` that succeeded here."""
        return self.data_folder / "torchneuron-init.json"

    def _initialized(self) -> dict[str, Any]:
        return _read_json(self._record)

    def _recorded_place(self) -> Place | None:
        """The backend that Terraform recorded at the last `init` in this folder."""
        backend = _read_json(self.data_folder / "terraform.tfstate").get("backend") or {}
        return backends.place_of(backend["type"], backend.get("config") or {}) if "type" in backend else None

    def _ways_to_move(self, kinds: Collection[str]) -> str:
        terraform = f"terraform -chdir={self._in_a_shell}"
        if "cloud" not in kinds:
            return f"{terraform} init -migrate-state"
        # Terraform refuses that option with HCP Terraform, and moves nothing between workspaces by itself.
        return (
            f"\n  with the old settings: invoke info; {terraform} state pull > moved.tfstate;"
            f" rm -r {self._in_a_shell}/.terraform"
            f"\n  with the new ones: invoke info; {terraform} state push - < moved.tfstate"
        )

    def _quietly(self, *arguments: str, folder: Path | None = None) -> str:
        done = self._run(*arguments, folder=folder)
        if done.status == 0:
            return done.stdout
        raise self._failure(f"terraform {arguments[0]} failed.", done.stderr.strip() or done.stdout.strip())

    def _failure(self, what: str, output: str, *, do: str = "") -> TerraformError | InputError:
        host = str(self._backend.get("cloud", {}).get("hostname") or "")
        return terraform_failures.failure(what, output, do=do, folder=str(self._folder), host=host)

    def _run(
        self, *arguments: str, folder: Path | None = None, on_line: Callable[[str], None] = lambda line: None
    ) -> Finished:
        environment = {
            **os.environ,
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "TF_DATA_DIR": str(self.data_folder),
        }
        return run_to_completion(
            ["terraform", *arguments], folder=folder or self._folder, environment=environment, on_line=on_line
        )


def _read_json(path: Path) -> dict[str, Any]:
    """An object in a file; empty if the file is missing or damaged."""
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return document


def _show(event: Mapping[str, Any]) -> None:
    hook = event.get("hook", {})
    if event.get("type") == "apply_complete" and hook.get("action") != "read":
        verb = {"create": "created", "delete": "deleted", "update": "updated"}.get(hook["action"], hook["action"])
        display.note(f"  {verb:<8} {hook['resource']['addr']} ({hook.get('elapsed_seconds', 0)} s)")
