"""What a plan would change, and why, read before anything is applied.

Source: Terraform's documentation, "Machine-Readable UI" (planned_change, outputs) and "JSON Output Format" (actions,
replace_paths).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torchneuron.core.errors import ReplacementRefusedError

MACHINE, DATA_VOLUME, TEMPLATE = "aws_instance", "aws_ebs_volume", "aws_launch_template"
ATTACHMENT = "aws_volume_attachment"
PRECIOUS = frozenset({MACHINE, DATA_VOLUME})
"""What a person may be working on, or has data on: never deleted or replaced by surprise."""
_ACTIONS: Mapping[str, tuple[str, ...]] = {"noop": (), "read": (), "replace": ("delete", "create")}


@dataclass(frozen=True)
class Change:
    """One resource in a plan.

    `identity` is the id of the resource as it exists now, empty if there is none. `because` names the attributes that
    force a replacement; `differences` are those that differ, with both values. Both are empty in a plan read from
    events, which do not say.
    """

    address: str
    type: str
    actions: tuple[str, ...]
    because: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    identity: str = ""

    @property
    def verb(self) -> str:
        return "replace" if len(self.actions) > 1 else self.actions[0]

    @property
    def is_loss(self) -> bool:
        """Whether a machine or a data volume that exists would be gone."""
        return "delete" in self.actions and self.type in PRECIOUS


@dataclass(frozen=True)
class Plan:
    """What a plan would change. `outputs` is whether outputs change, perhaps nothing else."""

    changes: tuple[Change, ...]
    outputs: bool = False

    @property
    def launches(self) -> int:
        """How many machines would be launched."""
        return sum(change.type == MACHINE and "create" in change.actions for change in self.changes)


def from_events(events: Iterable[Mapping[str, Any]], ids: Mapping[str, str]) -> Plan:
    """The plan that the events of `terraform plan -json` report. `ids` are the state's, by address."""
    changes: list[Change] = []
    outputs = False
    for event in events:
        if event.get("type") == "planned_change":
            change, resource = event["change"], event["change"]["resource"]
            actions = _ACTIONS.get(change["action"], (change["action"],))
            identity = ids.get(resource["addr"]) or change.get("importing", {}).get("id", "")
            if actions:
                changes.append(Change(resource["addr"], resource["resource_type"], actions, identity=identity))
        elif event.get("type") == "outputs":
            outputs = any(output.get("action", "noop") != "noop" for output in event["outputs"].values())
    return Plan(tuple(changes), outputs)


def from_json(plan: Mapping[str, Any]) -> Plan:
    """The plan that `terraform show -json` prints: with what forces each replacement."""
    outputs = plan.get("output_changes") or {}
    return Plan(tuple(_changes(plan)), any(_is_change(output["actions"]) for output in outputs.values()))


def _changes(plan: Mapping[str, Any]) -> Iterator[Change]:
    for resource in plan.get("resource_changes", []):
        change = resource["change"]
        is_import = "importing" in change
        if not (_is_change(change["actions"]) or is_import):
            continue
        yield Change(
            address=resource["address"],
            type=resource["type"],
            actions=tuple(change["actions"]) if _is_change(change["actions"]) else ("import",),
            because=tuple(_path(path) for path in change.get("replace_paths", [])),
            differences=tuple(_differences(change)),
            identity=str((change.get("before") or {}).get("id") or ""),
        )


def _is_change(actions: Sequence[str]) -> bool:
    return list(actions) not in (["no-op"], ["read"])


def refuse_losses(changes: Sequence[Change], *, allow_replace: bool, refresh_ami: bool = False) -> None:
    """Raise ReplacementRefusedError when `changes` would delete or replace a machine or a data volume.

    With `refresh_ami` a machine may be replaced for a newer AMI, and for nothing else.
    """
    lost = [change for change in changes if change.is_loss]
    _refuse_attached(changes)
    if refresh_ami:
        lost = [change for change in lost if change.type != MACHINE or change.because != ("ami",)]
    if not lost or allow_replace:
        return
    raise ReplacementRefusedError(
        "This deploy would destroy what someone may be working on. Nothing was changed.",
        why="\n".join(f"  {change.verb} {change.address}{_causes(change, changes)}" for change in lost),
        do=_remedies(lost),
    )


def _refuse_attached(changes: Sequence[Change]) -> None:
    """A volume is in use while its machine stays: Terraform would wait for ten minutes to delete it, and fail."""
    ended = {_index(change.address) for change in changes if change.type == MACHINE and "delete" in change.actions}
    created = {_index(change.address) for change in changes if change.type == MACHINE and change.actions == ("create",)}
    deleted = [change for change in changes if change.type == DATA_VOLUME and "delete" in change.actions]
    if attached := [change.address for change in deleted if _index(change.address) not in ended | created]:
        raise ReplacementRefusedError(
            f"{', '.join(attached)} would be deleted while its machine uses it. Nothing was changed.",
            do="Remove the machine first: invoke destroy --delete-data removes both. Or keep the data, outside this"
            " deployment: --release-data.",
        )


def _index(address: str) -> str:
    return address.partition("[")[2]


def _causes(lost: Change, changes: Sequence[Change]) -> str:
    """Why it would be lost. An instance launched from a template is replaced for a change of the template."""
    causes = list(lost.because)
    if any(cause.startswith("launch_template") for cause in causes):
        templates = [change for change in changes if change.type == TEMPLATE]
        if inside := [f"{change.address}: {text}" for change in templates for text in change.differences]:
            causes = [cause for cause in causes if not cause.startswith("launch_template")] + inside
    values = {text.partition(" ")[0]: text for text in lost.differences}
    return f", because of {', '.join(values.get(cause, cause) for cause in causes)}" if causes else ""


def _remedies(lost: Sequence[Change]) -> str:
    remedies = ["Undo the change that causes it, or add --allow-replace, which loses those machines and volumes."]
    if any(change.type == DATA_VOLUME and "availability_zone" in change.because for change in lost):
        remedies.append(
            "A volume cannot leave its zone: use a Capacity Block in that zone. Or keep the data, outside this"
            " deployment, and start with an empty volume: --release-data."
        )
    return "\n".join(remedies)


def _differences(change: Mapping[str, Any]) -> Iterator[str]:
    """What an update or a replacement changes: `attribute before -> after`, where both are known."""
    if change["actions"] in (["create"], ["delete"]):
        return
    unknown = change.get("after_unknown") or {}
    marks = (change.get("before_sensitive"), change.get("after_sensitive"))
    sensitive = [mark for mark in marks if isinstance(mark, Mapping)]
    before, after = change.get("before") or {}, change.get("after") or {}
    for name in sorted({*before, *after}):
        if unknown.get(name) is True or any(_has_mark(marked.get(name)) for marked in sensitive):
            continue
        for path, old, new in _leaves(name, before.get(name), after.get(name)):
            yield f"{path} {_shown(old)} -> {_shown(new)}"


def _has_mark(marks: Any) -> bool:
    """Whether a plan's tree of sensitivity marks has any."""
    if isinstance(marks, dict | list):
        return any(_has_mark(child) for child in (marks.values() if isinstance(marks, dict) else marks))
    return bool(marks)


def _leaves(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """The values in two trees that differ, each with its path."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _leaves(f"{path}.{key}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _leaves(f"{path}.{index}", old, new)
    elif before != after:
        yield path, before, after


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return "nothing"
    return "something" if isinstance(value, dict | list) else str(value)


def _path(path: Sequence[Any]) -> str:
    return ".".join(str(part) for part in path)
