"""From running machines back to nothing: what is removed, what is kept, and what is left that no state knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torchneuron.aws import account
from torchneuron.aws.session import Aws
from torchneuron.core import display
from torchneuron.core.config import Config
from torchneuron.core.errors import AwsError, Declined
from torchneuron.deploy import adoption, inventory, orphans
from torchneuron.deploy.terraform_plan import DATA_VOLUME, Change, of_type
from torchneuron.deploy.workspace import LOOKING, Project, connected, copied, refuse_without_state
from torchneuron.setup.stale_documents import delete_stale_documents


def destroy(config: Config, aws: Aws, *, yes: bool, delete_data: bool = False) -> None:
    """Remove the deployment in the region, after a yes that follows the list of what goes.

    Data volumes stay, and the next deploy uses them, unless `delete_data`. What is removed is what was listed:
    nobody else gets at the plan while the question stands. Raises Declined after a no.
    """
    refuse_without_state(config, aws.region)
    account.announce(aws)
    with connected(config, aws.region) as project:
        removal = _prepare(aws, config, project, delete_data=delete_data)
        if not removal.changes:
            display.note(f"Nothing is deployed in {aws.region}.{_kept(removal.kept, aws.region)}")
            _delete_documents(aws, config.project_name, gone=())
            _warn_of_the_rest(aws, config.project_name, removal)
            return
        _show(removal)
        if not yes and not display.confirm(
            _question(removal.changes), otherwise="Add --yes.", unchanged="Nothing was removed."
        ):
            raise Declined("Nothing was removed.")
        project.terraform.apply()
    display.note(f"Removed.{_kept(removal.kept, aws.region)}")
    _delete_documents(aws, config.project_name, gone=[change.identity for change in removal.changes])
    _warn_of_the_rest(aws, config.project_name, removal)


def try_out(config: Config, aws: Aws, *, delete_data: bool = False) -> None:
    """Show what `destroy` would remove and what would stay; on a copy of the state, so nothing is changed or locked."""
    refuse_without_state(config, aws.region)
    account.announce(aws)
    with copied(config, aws.region) as project:
        removal = _prepare(aws, config, project, delete_data=delete_data)
    if removal.changes:
        _show(removal)
    else:
        display.note(f"Nothing is deployed in {aws.region}.{_kept(removal.kept, aws.region)}")
    display.note("Dry run. Nothing was removed.")
    _warn_of_the_rest(aws, config.project_name, removal)


@dataclass(frozen=True)
class _Removal:
    """What goes; the ids of the data volumes that stay; the machines that are not this deployment's."""

    changes: Sequence[Change]
    kept: Sequence[str]
    strangers: Sequence[str]


def _prepare(aws: Aws, config: Config, project: Project, *, delete_data: bool) -> _Removal:
    outputs = project.outputs()
    strangers = _take_strays(aws, config, project, outputs)
    held = project.terraform.resources()
    keep = {} if delete_data else of_type(held, DATA_VOLUME)
    changes = project.terraform.plan_removal(held, keep=keep).changes
    return _Removal(changes, [str(one["id"]) for one in keep.values()], strangers)


def _show(removal: _Removal) -> None:
    display.table(["what goes", "address"], [(change.type, change.address) for change in removal.changes])
    if removal.kept:
        display.note(f"Stays: {', '.join(removal.kept)} (data, kept for the next deploy).")


def _delete_documents(aws: Aws, project: str, *, gone: Collection[str]) -> None:
    """Delete the command documents that setups have left, but for those of setups under way on other machines."""
    try:
        delete_stale_documents(aws.ssm(), project, terminated=gone, unsent=timedelta(0))
    except AwsError as error:
        display.warn(f"setup documents may be left in Systems Manager, with the texts of the tasks. {error.what}")


def _take_strays(aws: Aws, config: Config, project: Project, outputs: Mapping[str, Any]) -> Sequence[str]:
    """Take over the machines that no state knows, so that they are removed, too; returns those that are not ours."""
    known = inventory.instance_ids(outputs)
    unnamed = adoption.look(aws, project.terraform, project=config.project_name, known=known)
    if unnamed.ours:
        count = len(unnamed.places_held) + len(unnamed.ours)
        project.synthesize({**LOOKING, "region": aws.region, "count": count})
        adoption.take(project.terraform, unnamed, adoption.places(aws, unnamed, count=count))
    return [one.instance_id for one in unnamed.strangers]


def _warn_of_the_rest(aws: Aws, project: str, removal: _Removal) -> None:
    """Say what has the project's tags and is in no state. What is in use cannot be told from what is not, where any
    of its machines run: then only those are named. What goes or is kept needs no word.
    """
    adoption.warn_of(removal.strangers, project, aws.region)
    if not removal.strangers:
        known = [*removal.kept, *(change.identity for change in removal.changes)]
        orphans.warn(aws, project, known=known)


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
