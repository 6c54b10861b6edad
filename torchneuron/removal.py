"""From running machines back to nothing: what is removed, what is kept, and what is left that no state knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from torchneuron import account, adoption, deployed, display, remains
from torchneuron.aws import Aws
from torchneuron.config import Config
from torchneuron.errors import AwsError, Declined
from torchneuron.plan import DATA_VOLUME, Change, of_type
from torchneuron.project import LOOKING, Project, connected, refuse_without_state
from torchneuron.setup import clearing


def destroy(config: Config, aws: Aws, *, yes: bool, delete_data: bool = False) -> None:
    """Remove the deployment in the region, after a yes that follows the list of what goes.

    Data volumes stay, and the next deploy uses them, unless `delete_data`. What is removed is what was listed:
    nobody else gets at the plan while the question stands. Raises Declined after a no.
    """
    refuse_without_state(config, aws.region)
    account.announce(aws)
    with connected(config, aws.region) as project:
        terraform = project.terraform
        outputs = project.outputs()
        strangers = _take_strays(aws, config, project, outputs)
        held = terraform.resources()
        keep = {} if delete_data else of_type(held, DATA_VOLUME)
        kept = [str(one["id"]) for one in keep.values()]
        changes = terraform.plan_removal(held, keep=keep).changes
        if not changes:
            display.note(f"Nothing is deployed in {aws.region}.{_kept(kept, aws.region)}")
            _delete_documents(aws, config.project_name, gone=())
            _warn_of_the_rest(aws, config.project_name, strangers, known=kept)
            return
        display.table(["what goes", "address"], [(change.type, change.address) for change in changes])
        if kept:
            display.note(f"Stays: {', '.join(kept)} (data, kept for the next deploy).")
        if not yes and not display.confirm(
            _question(changes), otherwise="Add --yes.", unchanged="Nothing was removed."
        ):
            raise Declined("Nothing was removed.")
        terraform.apply()
    display.note(f"Removed.{_kept(kept, aws.region)}")
    _delete_documents(aws, config.project_name, gone=[change.identity for change in changes])
    _warn_of_the_rest(aws, config.project_name, strangers, known=[*kept, *(change.identity for change in changes)])


def _delete_documents(aws: Aws, project: str, *, gone: Collection[str]) -> None:
    """Delete the command documents that setups have left, but for those of setups under way on other machines."""
    try:
        clearing.delete_documents(aws.ssm(), project, gone=gone, unsent=timedelta(0))
    except AwsError as error:
        display.warn(f"setup documents may be left in Systems Manager, with the texts of the tasks. {error.what}")


def _take_strays(aws: Aws, config: Config, project: Project, outputs: Mapping[str, Any]) -> Sequence[str]:
    """Take over the machines that no state knows, so that they are removed, too; returns those that are not ours."""
    known = deployed.ids_in(outputs)
    unnamed = adoption.look(aws, project.terraform, project=config.project_name, known=known)
    if unnamed.ours:
        count = len(unnamed.places_held) + len(unnamed.ours)
        project.synthesize({**LOOKING, "region": aws.region, "count": count})
        adoption.take(project.terraform, unnamed, adoption.places(aws, unnamed, count=count))
    return [one.instance_id for one in unnamed.strangers]


def _warn_of_the_rest(aws: Aws, project: str, strangers: Sequence[str], *, known: Collection[str]) -> None:
    """Say what has the project's tags and is in no state. What is in use cannot be told from what is not, where any
    of its machines run: then only those are named. `known` needs no word: it is gone just now, or kept.
    """
    adoption.warn_of(strangers, project, aws.region)
    if not strangers:
        remains.warn_of(aws, project, known=known)


def _question(changes: Sequence[Change]) -> str:
    lost = [change for change in changes if change.type == DATA_VOLUME]
    return "Remove all of this, the data on the volumes, too?" if lost else "Remove all of this?"


def _kept(volumes: Sequence[str], region: str) -> str:
    if not volumes:
        return ""
    return (
        f" The data stays in {', '.join(volumes)}, which costs money; the next invoke deploy uses it."
        f" To remove it, too: invoke destroy --delete-data -r {region}"
    )
