"""Where Terraform keeps the state, as its JSON configuration: from the settings, without a synthesis.

`stacks.backend` writes the same block; a test compares both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torchneuron.core import config

Block = Mapping[str, Any]
"""The part of a `terraform` block that names the backend: one key, `backend` or `cloud`."""


@dataclass(frozen=True)
class Place:
    """Where a backend keeps a state. Within one kind, equal names are the same place."""

    kind: str
    name: str


def block(backend: config.Backend) -> Block:
    """The backend of the settings as Terraform's JSON."""
    if isinstance(backend, config.LocalBackend):
        return local_file(backend.path)
    if isinstance(backend, config.HcpBackend):
        cloud: dict[str, Any] = {
            "organization": backend.organization,
            "workspaces": {"name": backend.workspace},
        }
        return {"cloud": {**cloud, "hostname": backend.hostname} if backend.hostname else cloud}
    s3 = {
        "bucket": backend.bucket,
        "encrypt": True,
        "key": backend.key,
        "region": backend.region,
        "use_lockfile": True,
        "use_path_style": backend.use_path_style,
    }
    return {"backend": {"s3": s3}}


def local_file(path: str) -> Block:
    """A state in a file on this machine."""
    return {"backend": {"local": {"path": path}}}


def part_of(terraform: Mapping[str, Any]) -> Block:
    """The backend in a `terraform` block."""
    return {name: value for name, value in terraform.items() if name in ("backend", "cloud")}


def place(backend: Block) -> Place:
    if "cloud" in backend:
        return place_of("cloud", backend["cloud"])
    ((kind, settings),) = backend["backend"].items()
    return place_of(kind, settings)


def place_of(kind: str, settings: Mapping[str, Any]) -> Place:
    """The place that `settings` name, from a configuration or from Terraform's own record of it."""
    if kind == "s3":
        return Place(kind, f"the S3 bucket {settings.get('bucket')} ({settings.get('key')})")
    if kind == "local":
        return Place(kind, f"the file {settings.get('path')}")
    if kind == "cloud":
        workspaces = settings.get("workspaces") or {}
        # Terraform's record may have a list.
        workspace = workspaces[0] if isinstance(workspaces, list) and workspaces else workspaces
        name = f"the workspace {workspace.get('name') if workspace else '?'} of {settings.get('organization')}"
        return Place(kind, f"{name} at {settings['hostname']}" if settings.get("hostname") else name)
    return Place(kind, f"a {kind} backend")
