"""Machines that a deploy launched and could not write down any more: killed, or its power cut, at that moment.

Terraform writes its state to the backend every 20 seconds and at the end, so an instance may run, on a paid Capacity
Block that has room for no other, and be in no state. It carries the project's tags and the launch template it came
from. That template is in the state, because `deployment.deploy` applies what a machine is made from first; so the
machine can be taken into the state as the one that was meant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torchneuron.aws.ec2 import Instance, existing_instances
from torchneuron.aws.session import Aws
from torchneuron.core import display
from torchneuron.core.errors import InputError
from torchneuron.core.text import quoted
from torchneuron.deploy import inventory
from torchneuron.deploy.terraform import Terraform
from torchneuron.deploy.terraform_plan import MACHINE, of_type


@dataclass(frozen=True)
class Unnamed:
    """The project's machines that run and that the outputs do not name.

    `held` are in the state all the same, from a deploy that did not get as far as its outputs. `ours` were launched
    from a template of this state, `strangers` were not. `state` is what the state holds, by address.
    """

    held: tuple[Instance, ...] = ()
    ours: tuple[Instance, ...] = ()
    strangers: tuple[Instance, ...] = ()
    state: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def places_held(self) -> dict[str, str]:
        """The instances of the state by their addresses, those that are gone as well."""
        return {address: str(held.get("id")) for address, held in of_type(self.state, MACHINE).items()}


def look(aws: Aws, terraform: Terraform, *, project: str, known: Collection[str]) -> Unnamed:
    """The project's machines besides those `known`, which the outputs name: without any, the state is not even read."""
    found = [one for one in inventory.live_instances(aws.ec2(), project) if one.instance_id not in known]
    if not found:
        return Unnamed()
    state = terraform.resources()
    ids = {values.get("id") for values in state.values()}
    strays = [one for one in found if one.instance_id not in ids]
    return Unnamed(
        held=tuple(one for one in found if one.instance_id in ids),
        ours=tuple(one for one in strays if one.template_id in ids),
        strangers=tuple(one for one in strays if one.template_id not in ids),
        state=state,
    )


def places(aws: Aws, unnamed: Unnamed, *, count: int) -> dict[str, str]:
    """The ids of what is `ours`, by the address each is to have, as far as `count` has room.

    A place is free where the machine that the state has there is gone.
    """
    if not unnamed.ours:
        return {}
    held = unnamed.places_held
    there = {one.instance_id for one in existing_instances(aws.ec2(), list(held.values()))}
    every = [f"{MACHINE}.machine[{index}]" for index in range(count)]
    free = [address for address in every if held.get(address) not in there]
    return {address: stray.instance_id for address, stray in zip(free, unnamed.ours, strict=False)}


def refuse_others(aws: Aws, unnamed: Unnamed, found: Mapping[str, str], *, project: str) -> None:
    """Raise InputError for a machine that cannot be told to be this deployment's, and for one that got no place."""
    others = [*unnamed.strangers, *(one for one in unnamed.ours if one.instance_id not in found.values())]
    _refuse(others, project, aws.region)


def take(terraform: Terraform, unnamed: Unnamed, found: Mapping[str, str]) -> None:
    """Write what `places` found into the state, in place of what is gone. Raises TerraformError."""
    for address, instance_id in found.items():
        if address in unnamed.state:
            terraform.forget([address])
        terraform.adopt(address, instance_id)
        display.note(f"{instance_id} was launched by a deploy that could not finish: it is taken over.")


def warn_of(instance_ids: Collection[str], project: str, region: str) -> None:
    """Say which machines still run with the project's tags, and cost money, after all of the state is removed."""
    if instance_ids:
        display.warn(
            f"{' '.join(instance_ids)} still runs with this project's tags, and is in no state: a deploy that was"
            f" killed, or another deployment called {project}, made it. If nobody uses it: {_end(instance_ids, region)}"
        )


def _end(instance_ids: Collection[str], region: str) -> str:
    return f"aws ec2 terminate-instances --region {region} --instance-ids {' '.join(map(quoted, instance_ids))}"


def _refuse(strangers: Sequence[Instance], project: str, region: str) -> None:
    if strangers:
        ids = [one.instance_id for one in strangers]
        raise InputError(
            f"{' '.join(ids)} runs with this project's tags, and this state does not know it. Nothing was changed.",
            why=f"Another deployment called {project} may have made it, with its state elsewhere;"
            " or a deploy that was killed did.",
            do="If somebody uses it, give this deployment another projectName. If nobody does, end it, and run the"
            f" same command again: {_end(ids, region)}",
        )
