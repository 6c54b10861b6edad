"""What a deployment remembers of how it was made, and what a new deploy makes of that and of its own options.

The memory is in Terraform's state itself, as the output `choices` (`stacks.code_server`): it is there for every
person and machine that deploys, and none of a shell's history, of changed defaults or of a newly saved Capacity
Block replaces a machine that someone works on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torchneuron.aws.ec2 import Instance
from torchneuron.core.errors import InputError

Choices = dict[str, Any]

PLACE = ("useCapacityBlock", "capacityReservationId", "subnetId")
"""The choices that say where machines run."""
_IDS = PLACE[1:]


def remembered(outputs: Mapping[str, Any]) -> Choices:
    """What the deployment with these outputs was made with; empty when there is none."""
    return dict(outputs.get("choices") or {})


def merged(before: Mapping[str, Any], given: Mapping[str, Any]) -> Choices:
    """`given` laid over what the deployment remembers.

    A block that is named, or asked for anew, brings its own subnet: the one remembered belongs to another place.
    Raises InputError for a data volume that would have to shrink, which no volume can.
    """
    kept = dict(before)
    if given.get("useCapacityBlock") is False:
        kept.pop("capacityReservationId", None)
    elif given.get("useCapacityBlock") and not before.get("useCapacityBlock"):
        kept.pop("subnetId", None)
    named = given.get("capacityReservationId")
    if named and named != before.get("capacityReservationId"):
        kept.pop("subnetId", None)
    if "allowedIps" in given:
        kept.pop("openToWorld", None)
    _refuse_to_shrink(before.get("dataVolumeSize", 0), given.get("dataVolumeSize"))
    return {**kept, **given}


def of_kept_data(volumes: Sequence[Mapping[str, Any]]) -> Choices:
    """What still holds once the machines were removed on purpose: what the kept volumes, as the state has them, are."""
    if not volumes:
        return {}
    return {"dataVolumeSize": max(one["size"] for one in volumes), "count": len(volumes)}


def in_words(choices: Mapping[str, Any]) -> str:
    """The choices in a line: what a deploy that was given few options goes by."""
    parts = [f"{choices.get('count', 1)} x {choices['instanceType']}"] if "instanceType" in choices else []
    if choices.get("useCapacityBlock"):
        parts.append(f"on {choices.get('capacityReservationId', 'the saved Capacity Block')}")
    if size := choices.get("dataVolumeSize"):
        parts.append(f"a data volume of {size} GiB")
    if open_to := choices.get("allowedIps"):
        parts.append(f"open to {', '.join(open_to)}")
    return ", ".join(parts)


def without_place(choices: Mapping[str, Any], given: Mapping[str, Any]) -> Choices:
    """The choices for another Capacity Block, the saved one: without a place that was only remembered."""
    return {name: value for name, value in choices.items() if name not in _IDS or name in given}


def place_of(running: Sequence[Instance]) -> Choices:
    """Where the machines of a deploy that did not finish run: their block and its subnet; empty off any block."""
    on_block = next((machine for machine in running if machine.reservation_id), None)
    if on_block is None:
        return {}
    return {"capacityReservationId": on_block.reservation_id, "subnetId": on_block.subnet_id}


def _refuse_to_shrink(before: int, wanted: int | None) -> None:
    if wanted and wanted < before:
        raise InputError(
            f"The data volume has {before} GiB, and no volume can be made smaller.",
            do=f"Give --data-volume-size {before} or more, or leave it out.",
        )
