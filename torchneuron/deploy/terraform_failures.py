"""What Terraform reports when it fails, as our errors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torchneuron.core.errors import InputError, TerraformError
from torchneuron.core.text import quoted

_LOCKED = "Error acquiring the state lock"
_HCP, _WITHOUT_TOKEN = "app.terraform.io", "Required token could not be found"
# HCP Terraform's client adds this to a refusal, and then describes its own attempt as if that held the lock.
_HCP_LOCK = re.compile(r'\(lock[\s│]+ID:[\s│]+"([^"]+)"\)')


class LockedError(TerraformError):
    """Another run holds the state, a run that was killed left it locked, or it could not be locked."""


def event(line: str) -> Mapping[str, Any]:
    """One of the events that `-json` prints. Any other text counts as an error's text."""
    try:
        parsed: Mapping[str, Any] = json.loads(line)
    except ValueError:
        return {"@level": "error", "@message": line.strip()} if line.strip() else {}
    return parsed


def errors_in(events: Iterable[Mapping[str, Any]]) -> str:
    """The errors that events report, one after the other."""
    return "\n".join(_text(event) for event in events if event.get("@level") == "error")


def failure(what: str, output: str, *, do: str, folder: str, host: str) -> TerraformError | InputError:
    """The error for a run that failed with the text `output`.

    `folder` is where it ran; `host` is the host of HCP Terraform in the settings, if any.
    """
    if _LOCKED in output:
        return _locked(output, folder)
    if _WITHOUT_TOKEN in output:
        named = host or os.environ.get("TF_CLOUD_HOSTNAME") or _HCP
        return InputError(
            f"Terraform has no token for {named}, where this deployment's state is. Nothing was changed.",
            do=f"Run: terraform login {quoted(named)}",
        )
    return TerraformError(what, why=output, do=do)


def _locked(output: str, folder: str) -> LockedError:
    """Another run holds the state, or a run that was killed left it locked: only a person knows which."""
    facts = dict(line.strip(" │╷╵").split(":", 1) for line in output.splitlines() if line.strip(" │").count(":"))
    held = {name.strip(): value.strip() for name, value in facts.items()}
    who, since, lock = held.get("Who", "somebody"), held.get("Created", "?"), held.get("ID", "")
    why = f"By {who}, since {since}, for {held.get('Operation', 'an operation')}."
    if workspace := _HCP_LOCK.search(output):
        lock = workspace[1]
        why = f"The workspace {lock} is locked; its page says by whom: by another run, or by a person."
    if not lock:
        # No holder is known: the request for the lock failed, or the one for its holder.
        return LockedError(
            "Terraform's state could not be locked. Nothing was changed.",
            why=output.strip(),
            do="Wait until the cause is gone, then run the same command again.",
        )
    return LockedError(
        "Terraform's state is locked. Nothing was changed.",
        why=why,
        do="If that run is still at work, wait until it ends. If it was killed, remove its lock and run the same"
        f" command again:\n  terraform -chdir={quoted(folder)} force-unlock -force {quoted(lock)}",
    )


def _text(event: Mapping[str, Any]) -> str:
    diagnostic = event.get("diagnostic", {})
    parts = (
        diagnostic.get("summary", event.get("@message", "")),
        diagnostic.get("detail", ""),
        diagnostic.get("address", ""),
    )
    return "\n".join(part for part in parts if part)
