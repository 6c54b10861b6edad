"""Terraform's state as `terraform state pull` prints it.

Unlike `terraform show`, that needs no provider: it takes a tenth of a second instead of two. The format is version 4
of Terraform's state files, in use since Terraform 0.12.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torchneuron.core.errors import TerraformError

_VERSION = 4


@dataclass(frozen=True)
class State:
    """Outputs by name, the attributes of managed resources by address, and the addresses of tainted resources."""

    outputs: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tainted: frozenset[str] = frozenset()

    @property
    def ids(self) -> dict[str, str]:
        """Resource ids by address."""
        return {address: str(attributes.get("id") or "") for address, attributes in self.resources.items()}

    def of_type(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """The resources of one type, by address."""
        return {address: attributes for address, attributes in self.resources.items() if address.startswith(f"{kind}.")}

    def without(self, addresses: Collection[str]) -> State:
        kept = {address: attributes for address, attributes in self.resources.items() if address not in addresses}
        return replace(self, resources=kept)


def parse(text: str) -> State:
    """A state file's text; an empty text is an empty state. Raises TerraformError for a format that is not known."""
    if not text.strip():
        return State()
    document = json.loads(text)
    if document.get("version") != _VERSION:
        raise TerraformError(
            f"Terraform's state has format {document.get('version')}; this release reads format {_VERSION}.",
            do="Use the release of Terraform that wrote it, or a newer release of this project.",
        )
    resources: dict[str, Mapping[str, Any]] = {}
    tainted = set()
    for address, instance in _instances(document):
        # A deposed object waits for its removal beside the one that replaced it.
        if "deposed" in instance and address in resources:
            continue
        resources[address] = instance.get("attributes") or {}
        if instance.get("status") == "tainted":
            tainted.add(address)
    outputs = {name: output["value"] for name, output in (document.get("outputs") or {}).items()}
    return State(outputs, resources, frozenset(tainted))


def _instances(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for resource in document.get("resources") or []:
        if resource["mode"] != "managed":
            continue
        module = f"{resource['module']}." if resource.get("module") else ""
        for instance in sorted(resource["instances"], key=lambda instance: "deposed" in instance):
            index = f"[{json.dumps(instance['index_key'])}]" if "index_key" in instance else ""
            yield f"{module}{resource['type']}.{resource['name']}{index}", instance
