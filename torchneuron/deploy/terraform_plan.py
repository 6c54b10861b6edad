"""What a plan of Terraform's would change, and why: read from its JSON, before anything is applied.

Source: Terraform's documentation, "JSON Output Format" (actions, action_reason, replace_paths).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torchneuron.core.errors import ReplacementRefusedError

# What a person may be working on, or has their work on: never deleted or replaced by surprise.
MACHINE, DATA_VOLUME = "aws_instance", "aws_ebs_volume"
ATTACHMENT = "aws_volume_attachment"
_PRECIOUS = {MACHINE, DATA_VOLUME}
_NOTHING = (["no-op"], ["read"])
_TEMPLATE = "aws_launch_template"

Held = TypeVar("Held")


@dataclass(frozen=True)
class Change:
    """One resource in a plan. `identity` is the id of what there is of it now, empty where there is nothing.

    `is_unfinished` tells what was cut while it was made and is there all the same: Terraform calls it tainted, and
    would make it anew. `because` names the attributes that force a replacement. `differences` are those that differ,
    with both values.
    """

    address: str
    type: str
    actions: tuple[str, ...]
    because: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    identity: str = ""
    is_unfinished: bool = False

    @property
    def verb(self) -> str:
        return "replace" if len(self.actions) > 1 else self.actions[0]

    @property
    def is_loss(self) -> bool:
        """Whether a machine or a data volume that is there would be gone."""
        return "delete" in self.actions and self.type in _PRECIOUS


@dataclass(frozen=True)
class Plan:
    """What a plan would change. `outputs` tells whether outputs change, which may be all that does."""

    changes: tuple[Change, ...]
    outputs: bool = False

    @property
    def launches(self) -> int:
        """How many machines would be made."""
        return sum(change.type == MACHINE and "create" in change.actions for change in self.changes)

    @property
    def groundwork(self) -> tuple[str, ...]:
        """The addresses of what can be made or changed before a machine is made from it.

        None where anything of it goes: a group or a volume goes only after the machine that has it, which the whole
        plan knows and a part of it does not.
        """
        before = [change for change in self.changes if change.type not in (MACHINE, ATTACHMENT)]
        if any("delete" in change.actions for change in before):
            return ()
        return tuple(change.address for change in before)


def of_type(held: Mapping[str, Held], kind: str) -> dict[str, Held]:
    """Those of what a state holds, by address, that are of a type."""
    return {address: one for address, one in held.items() if address.startswith(f"{kind}.")}


def read(plan: Mapping[str, Any]) -> Plan:
    """A plan, as `terraform show -json` gives it."""
    outputs = plan.get("output_changes") or {}
    return Plan(_changes(plan), any(one["actions"] not in _NOTHING for one in outputs.values()))


def _changes(plan: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(
        Change(
            address=one["address"],
            type=one["type"],
            actions=tuple(one["change"]["actions"]),
            because=tuple(_path(path) for path in one["change"].get("replace_paths", [])),
            differences=tuple(_differences(one["change"])),
            identity=str((one["change"].get("before") or {}).get("id") or ""),
            is_unfinished=one.get("action_reason") == "replace_because_tainted",
        )
        for one in plan.get("resource_changes", [])
        if one["change"]["actions"] not in _NOTHING
    )


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
        do=_way_out(lost),
    )


def _refuse_attached(changes: Sequence[Change]) -> None:
    """A volume that is to go while its machine stays is in use: Terraform would wait for ten minutes, and fail."""
    ended = {_index(change.address) for change in changes if change.type == MACHINE and "delete" in change.actions}
    made = {_index(change.address) for change in changes if change.type == MACHINE and change.actions == ("create",)}
    going = [change for change in changes if change.type == DATA_VOLUME and "delete" in change.actions]
    if attached := [change.address for change in going if _index(change.address) not in ended | made]:
        raise ReplacementRefusedError(
            f"{', '.join(attached)} would go while its machine stays, and is in use there. Nothing was changed.",
            do="End the machine first: invoke destroy --delete-data removes both. Or leave the data where it is, out of"
            " this deployment: --release-data.",
        )


def _index(address: str) -> str:
    return address.partition("[")[2]


def _causes(lost: Change, changes: Sequence[Change]) -> str:
    """Why it would be lost. An instance started from a template is replaced for what changes in the template."""
    causes = list(lost.because)
    if any(cause.startswith("launch_template") for cause in causes):
        inside = [change for change in changes if change.type == _TEMPLATE]
        if told := [f"{change.address}: {one}" for change in inside for one in change.differences]:
            causes = [cause for cause in causes if not cause.startswith("launch_template")] + told
    values = {one.partition(" ")[0]: one for one in lost.differences}
    return f", because of {', '.join(values.get(cause, cause) for cause in causes)}" if causes else ""


def _way_out(lost: Sequence[Change]) -> str:
    ways = ["Undo the change that causes it, or add --allow-replace: what is on those machines and volumes is lost."]
    if any(change.type == DATA_VOLUME and "availability_zone" in change.because for change in lost):
        ways.append(
            "A volume cannot leave its zone: take a Capacity Block in that zone. Or leave the data where it is, out of"
            " this deployment, and begin with an empty volume: --release-data."
        )
    return "\n".join(ways)


def _differences(change: Mapping[str, Any]) -> Iterator[str]:
    """What an update or a replacement changes: `attribute before -> after`, where both are known."""
    if change["actions"] in (["create"], ["delete"]):
        return
    unknown = change.get("after_unknown") or {}
    marks = (change.get("before_sensitive"), change.get("after_sensitive"))
    hidden = [one for one in marks if isinstance(one, Mapping)]
    before, after = change.get("before") or {}, change.get("after") or {}
    for name in sorted({*before, *after}):
        if unknown.get(name) is True or any(_marks_any(one.get(name)) for one in hidden):
            continue
        for path, was, becomes in _leaves(name, before.get(name), after.get(name)):
            yield f"{path} {_shown(was)} -> {_shown(becomes)}"


def _marks_any(marks: Any) -> bool:
    """Whether a tree of marks, as plans have them of what is sensitive, marks anything."""
    if isinstance(marks, dict | list):
        return any(_marks_any(one) for one in (marks.values() if isinstance(marks, dict) else marks))
    return bool(marks)


def _leaves(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """The values in two trees that differ, each by its path."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _leaves(f"{path}.{key}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (was, becomes) in enumerate(zip(before, after, strict=True)):
            yield from _leaves(f"{path}.{index}", was, becomes)
    elif before != after:
        yield path, before, after


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return "nothing"
    return "something" if isinstance(value, dict | list) else str(value)


def _path(path: Sequence[Any]) -> str:
    return ".".join(str(part) for part in path)
