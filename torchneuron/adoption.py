"""Machines that a deploy launched and could not write down any more: killed, or its power cut, at that moment.

Terraform writes its state to the backend every 20 seconds and at the end, so an instance may run, on a paid Capacity
Block that has room for no other, and be in no state. It carries the project's tags and the launch template it came
from. That template is in the state, because `deployment.deploy` applies what a machine is made from first; so the
machine can be taken into the state as the one that was meant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torchneuron import deployed, display
from torchneuron.aws import Aws
from torchneuron.deployed import Machine
from torchneuron.errors import InputError
from torchneuron.plan import MACHINE
from torchneuron.terraform import Terraform


def strays(
    aws: Aws, terraform: Terraform, *, project: str, known: Collection[str]
) -> tuple[list[Machine], list[Machine]]:
    """The project's machines that no state knows: those launched from a template of this one, and the others.

    `known` are the instances of the outputs: where there are no more, the state is not even read.
    """
    found = [one for one in deployed.living(aws.ec2(), project) if one.instance_id not in known]
    if not found:
        return [], []
    ids = {values.get("id") for values in terraform.resources().values()}
    found = [one for one in found if one.instance_id not in ids]
    return [one for one in found if one.template_id in ids], [one for one in found if one.template_id not in ids]


def places(terraform: Terraform, ours: Sequence[Machine], *, count: int) -> dict[str, str]:
    """Their ids, by the address that each can have in the state, as far as `count` has room."""
    held = terraform.resources()
    free = [address for address in (f"{MACHINE}.machine[{index}]" for index in range(count)) if address not in held]
    return {address: stray.instance_id for address, stray in zip(free, ours, strict=False)}


def find(aws: Aws, terraform: Terraform, *, project: str, count: int, known: Collection[str]) -> dict[str, str]:
    """The project's machines that no state knows: ids by the address each is to have.

    Raises InputError for a machine that cannot be told to be this deployment's, and for more of them than `count`.
    """
    ours, strangers = strays(aws, terraform, project=project, known=known)
    found = places(terraform, ours, count=count) if ours else {}
    _refuse([*strangers, *ours[len(found) :]], project, aws.region)
    return found


def take(terraform: Terraform, found: Mapping[str, str]) -> None:
    """Write what `find` found into the state. Raises TerraformError."""
    for address, instance_id in found.items():
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
    return f"aws ec2 terminate-instances --region {region} --instance-ids {' '.join(instance_ids)}"


def _refuse(strangers: Sequence[Machine], project: str, region: str) -> None:
    if strangers:
        ids = [one.instance_id for one in strangers]
        raise InputError(
            f"{' '.join(ids)} runs with this project's tags, and this state does not know it. Nothing was changed.",
            why=f"Another deployment called {project} may have made it, with its state elsewhere;"
            " or a deploy that was killed did.",
            do="If somebody uses it, give this deployment another projectName. If nobody does, end it, and run the"
            f" same command again: {_end(ids, region)}",
        )
