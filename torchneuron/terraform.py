"""Drives terraform over the synthesized folder: runs it, shows its progress, reads its plans as JSON.

Terraform's own output is machine-readable here (`-json`); a person sees one line for each thing
that changes, and the whole diagnostic when it fails.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchneuron import display
from torchneuron.errors import InputError, TerraformError
from torchneuron.processes import Finished, run_to_its_end

PLAN_FILE = "torchneuron.tfplan"
# What a person may be working on, or has their work on: never deleted or replaced by surprise.
_PRECIOUS = {"aws_instance", "aws_ebs_volume"}
# How Terraform's plan representation spells its actions (Terraform docs, JSON output format).
_NOTHING = (["no-op"], ["read"])


@dataclass(frozen=True)
class Change:
    """One resource in a plan. `because` names the attributes that force a replacement."""

    address: str
    type: str
    actions: tuple[str, ...]
    because: tuple[str, ...]

    @property
    def verb(self) -> str:
        return "replace" if len(self.actions) > 1 else self.actions[0]

    @property
    def loses_a_machine(self) -> bool:
        return "delete" in self.actions and self.type in _PRECIOUS


class Terraform:
    """Terraform in one folder of synthesized configuration."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if shutil.which("terraform") is None:
            raise InputError(
                "Terraform is not installed.",
                do="Install Terraform 1.11 or newer: https://developer.hashicorp.com/terraform/install",
            )

    def init(self) -> None:
        """Fetch the provider and connect to the backend. Raises TerraformError.

        A change of backend or of bucket is refused: the machine in the old state would be forgotten,
        not moved.
        """
        before, now = self._backend_before(), self._backend_now()
        if before and before != now:
            raise TerraformError(
                f"This deployment's state is in {before}, and the settings now say {now}.",
                why="Terraform would take what the old state holds, a running machine too, for not there.",
                do=f"Put the settings back, or move the state: terraform -chdir={self._folder} init -migrate-state\n"
                f"If nothing is deployed from the old state: rm -r {self._folder / '.terraform'}",
            )
        with display.waiting("terraform init"):
            self._quietly("init", "-input=false", "-no-color", "-reconfigure")

    def _backend_before(self) -> str | None:
        """The backend this folder was last connected to, as `_place` tells it."""
        try:
            record = json.loads((self._folder / ".terraform" / "terraform.tfstate").read_text())
        except (OSError, ValueError):
            return None
        backend = record.get("backend") or {}
        return _place(backend["type"], backend.get("config") or {}) if "type" in backend else None

    def _backend_now(self) -> str:
        configuration = json.loads((self._folder / "cdk.tf.json").read_text())
        ((kind, settings),) = configuration["terraform"]["backend"].items()
        return _place(kind, settings)

    def plan(self, *, destroy: bool = False) -> tuple[Change, ...]:
        """Plan, keep the plan for `apply`, and say what it would change."""
        with display.waiting("terraform plan"):
            extra = ["-destroy"] if destroy else []
            self._quietly("plan", "-input=false", "-no-color", "-lock-timeout=60s", f"-out={PLAN_FILE}", *extra)
            shown = json.loads(self._quietly("show", "-json", PLAN_FILE))
        return tuple(
            Change(
                address=change["address"],
                type=change["type"],
                actions=tuple(change["change"]["actions"]),
                because=tuple(_path(path) for path in change["change"].get("replace_paths", [])),
            )
            for change in shown.get("resource_changes", [])
            if change["change"]["actions"] not in _NOTHING
        )

    def apply(self) -> None:
        """Carry out the plan that `plan` kept, a line for each thing done. Raises TerraformError."""
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

    def outputs(self) -> dict[str, Any]:
        """The deployment's outputs by name; empty when nothing is deployed."""
        answer = json.loads(self._quietly("output", "-json", "-no-color"))
        return {name: output["value"] for name, output in answer.items()}

    def _quietly(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.status != 0:
            raise TerraformError(f"terraform {arguments[0]} failed.", why=(done.stderr.strip() or done.stdout.strip()))
        return done.stdout

    def _run(self, *arguments: str, on_line: Callable[[str], None] = lambda line: None) -> Finished:
        return run_to_its_end(
            ["terraform", *arguments], folder=self._folder, environment=_environment(), on_line=on_line
        )


def _place(kind: str, settings: Mapping[str, Any]) -> str:
    """Where a backend keeps states, in words that are equal only for the same place."""
    return f"the S3 bucket {settings.get('bucket')}" if kind == "s3" else f"a {kind} backend"


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
    elif event.get("type") == "change_summary":
        display.note(f"  {event['@message']}")


def _diagnostic(event: Mapping[str, Any]) -> str:
    told = event.get("diagnostic", {})
    parts = (told.get("summary", event.get("@message", "")), told.get("detail", ""), told.get("address", ""))
    return "\n".join(part for part in parts if part)


def _path(path: list[Any]) -> str:
    return ".".join(str(part) for part in path)
