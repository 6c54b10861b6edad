"""The choices that a deployment remembers from its previous deploy, merged with the options of a new one.

They are in Terraform's state, as the output `choices` (`stacks.code_server`), so everyone who deploys has them.
Neither an option left out, nor a changed default, nor a newly saved Capacity Block replaces a machine in use.
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
    """The choices in Terraform's outputs; empty before the first deploy."""
    return dict(outputs.get("choices") or {})


def merged(before: Mapping[str, Any], given: Mapping[str, Any]) -> Choices:
    """The remembered choices, overridden by those `given`.

    Another block brings its own subnet: the remembered one belongs to another place. Raises InputError for a data
    volume that would have to shrink.
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
    """The choices that follow from data volumes kept after a removal, given as the state's attributes."""
    if not volumes:
        return {}
    return {"dataVolumeSize": max(volume["size"] for volume in volumes), "count": len(volumes)}


def summary(choices: Mapping[str, Any]) -> str:
    """The choices in one line."""
    parts = [f"{choices.get('count', 1)} x {choices['instanceType']}"] if "instanceType" in choices else []
    if choices.get("useCapacityBlock"):
        parts.append(f"on {choices.get('capacityReservationId', 'the saved Capacity Block')}")
    if size := choices.get("dataVolumeSize"):
        parts.append(f"a data volume of {size} GiB")
    if open_to := choices.get("allowedIps"):
        parts.append(f"open to {', '.join(open_to)}")
    return ", ".join(parts)


def without_place(choices: Mapping[str, Any], given: Mapping[str, Any]) -> Choices:
    """The choices for the saved Capacity Block: without a block and subnet that were only remembered."""
    return {name: value for name, value in choices.items() if name not in _IDS or name in given}


def place_of(running: Sequence[Instance]) -> Choices:
    """The block and the subnet where machines of an unfinished deploy run; empty if they run on no block."""
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
