"""Removes a deployment: what is removed, what is kept, and what remains in AWS that no state has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from torchneuron.aws import account
from torchneuron.aws.ec2 import Instance
from torchneuron.aws.session import Aws
from torchneuron.core import display
from torchneuron.core.config import Config
from torchneuron.core.errors import AwsError, Declined
from torchneuron.deploy import adoption, orphans
from torchneuron.deploy.state import State
from torchneuron.deploy.terraform import Terraform
from torchneuron.deploy.terraform_plan import DATA_VOLUME, MACHINE, Change
from torchneuron.deploy.workspace import Workspace, connected, copied, refuse_without_state
from torchneuron.setup.stale_documents import delete_stale_documents


def destroy(config: Config, aws: Aws, *, yes: bool, delete_data: bool = False) -> None:
    """Remove the deployment in the region, after listing what is removed and asking, unless `yes`.

    Data volumes stay for the next deploy, unless `delete_data`. The plan is locked while the question is open, so what
    is removed is what was listed. Raises Declined after a no.
    """
    refuse_without_state(config, aws.region)
    account.announce(aws)
    with connected(config, aws.region) as workspace:
        removal = _prepare(aws, config, workspace, delete_data=delete_data)
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
        workspace.terraform.apply()
        workspace.launch_record.succeed()
    display.note(f"Removed.{_kept(removal.kept, aws.region)}")
    _delete_documents(aws, config.project_name, gone=[change.identity for change in removal.changes])
    _warn_of_the_rest(aws, config.project_name, removal)


def try_out(config: Config, aws: Aws, *, delete_data: bool = False) -> None:
    """Show what `destroy` would remove and keep. It works on a copy of the state: nothing is changed or locked."""
    refuse_without_state(config, aws.region)
    account.announce(aws)
    with copied(config, aws.region) as workspace:
        removal = _prepare(aws, config, workspace, delete_data=delete_data)
    if removal.changes:
        _show(removal)
    else:
        display.note(f"Nothing is deployed in {aws.region}.{_kept(removal.kept, aws.region)}")
    display.note("Dry run. Nothing was removed.")
    _warn_of_the_rest(aws, config.project_name, removal)


@dataclass(frozen=True)
class _Removal:
    """What is removed; the ids of the data volumes that stay; those of machines that may be another deployment's."""

    changes: Sequence[Change]
    kept: Sequence[str]
    foreign: Sequence[str]


def _prepare(aws: Aws, config: Config, workspace: Workspace, *, delete_data: bool) -> _Removal:
    state = workspace.state()
    unfinished = workspace.launch_record.unfinished()
    untracked = adoption.find(aws, state, unfinished, project=config.project_name)
    machines = len(state.of_type(MACHINE)) + len(untracked.adoptable)
    workspace.prepare_removal(machines if untracked.adoptable else 0)
    if untracked.adoptable:
        _import(workspace.terraform, state, adoption.assign(aws, state, untracked, count=machines))
        state = workspace.state()
    keep = {} if delete_data else state.of_type(DATA_VOLUME)
    changes = workspace.terraform.plan_removal(state, keep=keep).changes
    foreign = [machine.instance_id for machine in untracked.foreign]
    return _Removal(changes, [str(volume["id"]) for volume in keep.values()], foreign)


def _import(terraform: Terraform, state: State, assigned: Mapping[str, Instance]) -> None:
    """Import machines that a killed deploy launched, so that they are removed as well."""
    for address, machine in assigned.items():
        if address in state.resources:
            terraform.forget([address])
        terraform.import_resource(address, machine.instance_id)
    adoption.announce(assigned.values())


def _show(removal: _Removal) -> None:
    display.table(["what goes", "address"], [(change.type, change.address) for change in removal.changes])
    if removal.kept:
        display.note(f"Stays: {', '.join(removal.kept)} (data, kept for the next deploy).")


def _delete_documents(aws: Aws, project: str, *, gone: Collection[str]) -> None:
    """Delete the command documents of setups, except those of setups that run on other machines."""
    try:
        delete_stale_documents(aws.ssm(), project, terminated=gone, unsent=timedelta(0))
    except AwsError as error:
        display.warn(f"setup documents may be left in Systems Manager, with the texts of the tasks. {error.what}")


def _warn_of_the_rest(aws: Aws, project: str, removal: _Removal) -> None:
    """Name what has the project's tags and is in no state, except what was removed or kept.

    While a foreign machine runs, what it uses cannot be told from orphans: then only the machine is named.
    """
    adoption.warn_of(removal.foreign, project, aws.region)
    if not removal.foreign:
        known = [*removal.kept, *(change.identity for change in removal.changes)]
        orphans.warn(aws, project, known=known)


def _question(changes: Sequence[Change]) -> str:
    lost = [change for change in changes if change.type == DATA_VOLUME]
    return "Remove all of this, including the data on the volumes?" if lost else "Remove all of this?"


def _kept(volumes: Sequence[str], region: str) -> str:
    if not volumes:
        return ""
    return (
        f" The data stays in {', '.join(volumes)}, which costs money; the next invoke deploy uses it."
        f" To remove it as well: invoke destroy --delete-data -r {region}"
    )
