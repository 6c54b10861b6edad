"""Drives terraform over the synthesized folder: runs it, shows its progress, reads its plans as JSON.

Terraform's own output is machine-readable here (`-json`); a person sees one line for each thing
that changes, and the whole diagnostic when it fails.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchneuron.core import display
from torchneuron.core.errors import InputError, TerraformError
from torchneuron.core.processes import Finished, run_to_its_end
from torchneuron.core.text import quoted
from torchneuron.core.versions import MINIMUM_TERRAFORM
from torchneuron.deploy import terraform_plan as plans
from torchneuron.deploy.terraform_plan import Plan

PLAN_FILE = "torchneuron.tfplan"
# Where Terraform leaves the state of an apply that it could not upload any more.
_ERRORED_STATE = "errored.tfstate"
_LOCKED = "Error acquiring the state lock"
_HCP, _WITHOUT_TOKEN = "app.terraform.io", "Required token could not be found"
# HCP Terraform's client adds this to a refusal, and then tells of its own attempt as if that were what is held.
_HCP_LOCK = re.compile(r'\(lock[\s│]+ID:[\s│]+"([^"]+)"\)')


@dataclass(frozen=True)
class _Place:
    """Where a backend keeps states: `name` is equal only for the same place of a kind."""

    kind: str
    name: str


class LockedError(TerraformError):
    """Another run holds the state, one that was killed left it locked, or it could not be locked."""


class Terraform:
    """Terraform in one folder of synthesized configuration."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._in_a_shell = shlex.quote(str(folder))
        if shutil.which("terraform") is None:
            raise InputError(
                "Terraform is not installed.",
                do=f"Install Terraform {MINIMUM_TERRAFORM} or newer: https://developer.hashicorp.com/terraform/install",
            )

    def init(self) -> None:
        """Fetch the provider and connect to the backend. Raises TerraformError, and InputError without a token for it.

        A change of backend, bucket or workspace is refused: the machine in the old state would be forgotten,
        not moved.
        """
        before, now = self._backend_before(), self._backend_now()
        if before and before != now:
            raise TerraformError(
                f"This deployment's state is in {before.name}, and the settings now say {now.name}.",
                why="Terraform would take what the old state holds, a running machine too, for not there.",
                do=f"Put the settings back, or move the state: {self._ways_to_move({before.kind, now.kind})}\n"
                f"If nothing is deployed from the old state: rm -r {self._in_a_shell}/.terraform",
            )
        # Of HCP Terraform's settings none can be kept from before, and Terraform refuses to be told so.
        anew = [] if self._is_cloud() else ["-reconfigure"]
        with display.waiting("terraform init"):
            self._quietly("init", "-input=false", "-no-color", *anew)

    def _ways_to_move(self, kinds: Collection[str]) -> str:
        terraform = f"terraform -chdir={self._in_a_shell}"
        if "cloud" not in kinds:
            return f"{terraform} init -migrate-state"
        # Terraform refuses that option with HCP Terraform, and moves nothing from one workspace to another by itself.
        return (
            f"\n  with the old settings: invoke info; {terraform} state pull > moved.tfstate;"
            f" rm -r {self._in_a_shell}/.terraform"
            f"\n  with the new ones: invoke info; {terraform} state push - < moved.tfstate"
        )

    def _is_cloud(self) -> bool:
        return "cloud" in self._settings()

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads((self._folder / "cdk.tf.json").read_text())["terraform"]
        return settings

    def _backend_before(self) -> _Place | None:
        """The backend this folder was last connected to, as `_place` tells it."""
        try:
            record = json.loads((self._folder / ".terraform" / "terraform.tfstate").read_text())
        except (OSError, ValueError):
            return None
        backend = record.get("backend") or {}
        return _place(backend["type"], backend.get("config") or {}) if "type" in backend else None

    def _backend_now(self) -> _Place:
        terraform = self._settings()
        if self._is_cloud():
            return _place("cloud", terraform["cloud"])
        ((kind, settings),) = terraform["backend"].items()
        return _place(kind, settings)

    def recover(self) -> None:
        """Upload what an earlier apply had made when it lost its way to the state. Raises TerraformError."""
        left = self._folder / _ERRORED_STATE
        if not left.exists():
            return
        try:
            self._quietly("state", "push", _ERRORED_STATE)
        except LockedError:
            raise
        except TerraformError as error:
            aside = shlex.quote(str(left.with_suffix(".old")))
            raise TerraformError(
                f"An earlier run could not save its state, and it cannot be saved now: it is in {left}.",
                why=error.why,
                do="Where another run has changed the deployment since, the newer state is right. Then set this one"
                f" aside, and give the same command again:\n  mv {shlex.quote(str(left))} {aside}",
            ) from error
        left.unlink()
        display.note("An earlier run could not save its state; it is saved now.")

    def pull(self) -> str:
        """The whole state as the backend has it, without its lock; empty where there is none yet."""
        return self._quietly("state", "pull")

    def detach(self, copy: Path) -> None:
        """Keep the state in the file `copy` from now on, in place of the backend, which is not asked again."""
        path = self._folder / "cdk.tf.json"
        document = json.loads(path.read_text())
        document["terraform"] = {name: value for name, value in self._settings().items() if name != "cloud"}
        document["terraform"]["backend"] = {"local": {"path": str(copy)}}
        path.write_text(json.dumps(document))

    def forget_backend(self) -> None:
        """Have the next `init` connect as if this folder had never been connected to a backend."""
        (self._folder / ".terraform" / "terraform.tfstate").unlink(missing_ok=True)

    @property
    def has_unsaved_state(self) -> bool:
        """Whether an earlier apply could not upload its state: `recover` does."""
        return (self._folder / _ERRORED_STATE).exists()

    def plan(self) -> Plan:
        """Plan, keep the plan for `apply`, and say what it would change."""
        return self._plan()

    def plan_groundwork(self, addresses: Collection[str]) -> Plan:
        """Plan what `addresses` name, and what that needs, and nothing else."""
        return self._plan(*(f"-target={address}" for address in addresses))

    def plan_removal(self, held: Collection[str], *, keep: Collection[str] = ()) -> Plan:
        """Plan to remove what the state holds, by their addresses `held`, but for those to `keep`.

        Where there are none of them the state is empty afterwards, and nothing is remembered. A state that holds
        nothing is planned for, too: another run may be at work on it, which its lock tells.
        """
        going = [address for address in held if address not in keep]
        if held and not going:
            return Plan(())
        parts = [f"-target={address}" for address in going] if len(going) < len(held) else []
        try:
            return self._plan("-destroy", *parts)
        except LockedError:
            raise
        except TerraformError:
            # What is looked up for a deploy may be gone or denied by now, the AMI say: no reason to keep the machine.
            return self._plan("-destroy", "-refresh=false", *parts)

    def _plan(self, *extra: str) -> Plan:
        with display.waiting("terraform plan"):
            self._quietly("plan", "-input=false", "-no-color", "-lock-timeout=60s", f"-out={PLAN_FILE}", *extra)
            return plans.read(json.loads(self._quietly("show", "-json", PLAN_FILE)))

    def apply(self) -> None:
        """Carry out the plan that was kept, a line for each thing done. Raises TerraformError."""
        problems: list[str] = []

        def follow(line: str) -> None:
            event = _event(line)
            _show(event)
            if event.get("@level") == "error":
                problems.append(_diagnostic(event))

        with display.waiting("terraform apply"):
            done = self._run("apply", "-input=false", "-json", "-lock-timeout=60s", PLAN_FILE, on_line=follow)
        (self._folder / PLAN_FILE).unlink(missing_ok=True)
        if done.status != 0:
            raise TerraformError(
                "Terraform could not apply the plan.",
                why="\n".join(problems) or done.stderr.strip(),
                do="What was made is in the state: once this is mended, the same command goes on from there.",
            )

    def resources(self) -> dict[str, Mapping[str, Any]]:
        """What the state holds, by address: each resource's attributes."""
        found = self._held().get("root_module", {}).get("resources", [])
        return {one["address"]: one["values"] for one in found if one["mode"] == "managed"}

    def adopt(self, address: str, identity: str) -> None:
        """Take something that exists into the state. Raises TerraformError."""
        with display.waiting(f"terraform import {quoted(identity)}"):
            self._quietly("import", "-input=false", "-no-color", "-lock-timeout=60s", address, identity)

    def keep(self, address: str) -> None:
        """Take something for finished that was cut while it was made. Raises TerraformError."""
        self._quietly("untaint", "-lock-timeout=60s", address)

    def forget(self, addresses: Collection[str]) -> None:
        """Take things out of the state, and leave them as they are. Raises TerraformError."""
        self._quietly("state", "rm", "-lock-timeout=60s", *addresses)

    def outputs(self) -> dict[str, Any]:
        """The deployment's outputs by name; empty when nothing is deployed.

        Of HCP Terraform they are read from the state itself: what `terraform output` asks for is 404 in a workspace
        without a state, and processed some time after a state's upload (HCP Terraform API, "State Versions").
        """
        if self._is_cloud():
            answer = self._held().get("outputs", {})
        else:
            answer = json.loads(self._quietly("output", "-json", "-no-color"))
        return {name: output["value"] for name, output in answer.items()}

    def _held(self) -> Mapping[str, Any]:
        """The state's values, as `terraform show -json` gives them; empty where there is no state."""
        return json.loads(self._quietly("show", "-json", "-no-color")).get("values") or {}

    def _quietly(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.status == 0:
            return done.stdout
        if _LOCKED in done.stderr:
            raise self._locked(done.stderr)
        if _WITHOUT_TOKEN in done.stderr:
            host = self._settings().get("cloud", {}).get("hostname") or os.environ.get("TF_CLOUD_HOSTNAME") or _HCP
            raise InputError(
                f"Terraform has no token for {host}, where this deployment's state is. Nothing was changed.",
                do=f"Run: terraform login {quoted(host)}",
            )
        raise TerraformError(f"terraform {arguments[0]} failed.", why=(done.stderr.strip() or done.stdout.strip()))

    def _locked(self, told: str) -> LockedError:
        """Another run holds the state, or a run that was killed left it locked: only a person can tell which."""
        facts = dict(line.strip(" │╷╵").split(":", 1) for line in told.splitlines() if line.strip(" │").count(":"))
        held = {name.strip(): value.strip() for name, value in facts.items()}
        who, since, lock = held.get("Who", "somebody"), held.get("Created", "?"), held.get("ID", "")
        why = f"By {who}, since {since}, for {held.get('Operation', 'an operation')}."
        if workspace := _HCP_LOCK.search(told):
            lock = workspace[1]
            why = f"The workspace {lock} is locked; its page says by whom: by another run, or by a person."
        if not lock:
            # Nobody is known to hold it: the request for it failed, or the one for who does.
            return LockedError(
                "Terraform's state could not be locked. Nothing was changed.",
                why=told.strip(),
                do="Once that has passed, run the same command again.",
            )
        return LockedError(
            "Terraform's state is locked. Nothing was changed.",
            why=why,
            do="If that run is still at work, wait for its end. If it was killed, take its lock away and run the same"
            f" command again:\n  terraform -chdir={self._in_a_shell} force-unlock -force {quoted(lock)}",
        )

    def _run(self, *arguments: str, on_line: Callable[[str], None] = lambda line: None) -> Finished:
        return run_to_its_end(
            ["terraform", *arguments], folder=self._folder, environment=_environment(), on_line=on_line
        )


def _place(kind: str, settings: Mapping[str, Any]) -> _Place:
    if kind == "s3":
        return _Place(kind, f"the S3 bucket {settings.get('bucket')} ({settings.get('key')})")
    if kind == "local":
        return _Place(kind, f"the file {settings.get('path')}")
    if kind == "cloud":
        workspaces = settings.get("workspaces") or {}
        # Terraform's own record has it as a list.
        one = workspaces[0] if isinstance(workspaces, list) and workspaces else workspaces
        name = f"the workspace {one.get('name') if one else '?'} of {settings.get('organization')}"
        return _Place(kind, f"{name} at {settings['hostname']}" if settings.get("hostname") else name)
    return _Place(kind, f"a {kind} backend")


def _environment() -> Mapping[str, str]:
    return {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}


def _event(line: str) -> Mapping[str, Any]:
    """One of Terraform's JSON events; anything else it prints is taken for an error's text."""
    try:
        event: Mapping[str, Any] = json.loads(line)
    except ValueError:
        return {"@level": "error", "@message": line.strip()} if line.strip() else {}
    return event


def _show(event: Mapping[str, Any]) -> None:
    hook = event.get("hook", {})
    if event.get("type") == "apply_complete" and hook.get("action") != "read":
        verb = {"create": "made", "delete": "removed", "update": "changed"}.get(hook["action"], hook["action"])
        name = hook["resource"]["addr"]
        display.note(f"  {verb:<8} {name} ({hook.get('elapsed_seconds', 0)} s)")


def _diagnostic(event: Mapping[str, Any]) -> str:
    told = event.get("diagnostic", {})
    parts = (told.get("summary", event.get("@message", "")), told.get("detail", ""), told.get("address", ""))
    return "\n".join(part for part in parts if part)
