"""From settings to running machines and back: synth, plan, guard, apply, destroy."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchneuron import adoption, choices, deployed, display, locks, preflight, remains
from torchneuron.aws import Aws
from torchneuron.choices import Choices
from torchneuron.config import PROJECT_ROOT, Config, S3Backend
from torchneuron.deployed import Deployed, Machine
from torchneuron.errors import (
    Detached,
    InputError,
    NotFoundError,
    SetupError,
    TerraformError,
    TorchNeuronError,
)
from torchneuron.plan import DATA_VOLUME, Change, Plan, refuse_losses
from torchneuron.processes import run_to_its_end
from torchneuron.terraform import Terraform

# Long enough for a command that only looks; one that deploys or removes takes longer, and is not waited for.
_BUSY_SECONDS = 15.0
# One-off settings that hold for any deployment: for connecting to its state, and for removing it.
_LOOKING = {"dataVolumeSize": 0, "allowedIps": [], "remember": False}


def deploy(
    config: Config, aws: Aws, given: Mapping[str, Any], *, allow_replace: bool = False, release_data: bool = False
) -> Deployed:
    """Make the deployment what the settings, its own memory and `given` say, and return what is there then.

    With `release_data`, data volumes stay in AWS and are no more a part of it. Raises InputError, AccessError and
    NotFoundError before anything is changed, ReplacementRefusedError when the plan would lose a machine, TerraformError
    when Terraform fails, SetupError when what was made cannot be looked at.
    """
    config.check(given)
    _refuse_without_state(config, aws.region)
    preflight.check_account(aws)
    with _connected(config, aws.region) as project:
        outputs = project.outputs()
        known = deployed.ids_in(outputs)
        memory = _remembered(aws, project.terraform, outputs)
        wanted = choices.merged(memory.choices, given)
        unnamed = adoption.look(aws, project.terraform, project=config.project_name, known=known)
        strays = adoption.places(aws, unnamed, count=wanted.get("count", 1))
        adoption.refuse_others(aws, unnamed, strays, project=config.project_name)
        held = [one.instance_id for one in unnamed.held]
        running = deployed.there(aws.ec2(), [*known, *held, *strays.values()])
        wanted = _settle(aws, config, memory, given, wanted, running=running, allow_replace=allow_replace)
        terraform = project.synthesize(wanted)
        adoption.take(terraform, unnamed, strays)
        guard = functools.partial(refuse_losses, allow_replace=allow_replace, refresh_ami=bool(given.get("refreshAmi")))
        if release_data:
            # What else would be lost has to be known before the volumes are forgotten.
            changes = _plan(terraform, allow_replace=allow_replace).changes
            guard([change for change in changes if change.type != DATA_VOLUME])
            _release_data(terraform, aws.region)
        plan = _plan(terraform, allow_replace=allow_replace)
        changed = _apply(terraform, plan, guard, home=config.home_folder)
        outputs = terraform.outputs()
    if not changed:
        return deployed.from_outputs(aws, outputs)
    ids = deployed.ids_in(outputs)
    only = f"-i {ids[0]} " if len(ids) == 1 else ""
    with launched(ids, f"invoke setup {only}-r {aws.region}"):
        return deployed.from_outputs(aws, outputs)


def info(config: Config, aws: Aws) -> Deployed:
    """What is deployed in the region: by Terraform's state, or by tags where that is not at hand.

    Raises NotFoundError when nothing is.
    """
    try:
        with _connected(config, aws.region) as project:
            outputs = project.outputs()
        return deployed.from_outputs(aws, outputs)
    except (InputError, TerraformError, NotFoundError, locks.BusyError) as error:
        try:
            found = deployed.by_tags(aws, config.project_name)
        except NotFoundError:
            raise error from None
        display.warn(f"found by its tags, not by a state. {error.what}")
        return found


def destroy(config: Config, aws: Aws, *, yes: bool, delete_data: bool = False) -> None:
    """Remove the deployment in the region, after a yes that follows the list of what goes.

    Data volumes stay, and the next deploy uses them, unless `delete_data`. What is removed is what was listed:
    nobody else gets at the plan while the question stands. Raises Declined after a no.
    """
    with _connected(config, aws.region) as project:
        terraform = project.terraform
        outputs = project.outputs()
        strangers = _take_strays(aws, config, project, outputs)
        kept = () if delete_data else tuple(outputs.get("data_volume_ids") or ())
        changes = terraform.plan_removal(keep=() if delete_data else (DATA_VOLUME,)).changes
        if not changes:
            display.note(f"Nothing is deployed in {aws.region}.{_kept(kept, aws.region)}")
            _warn_of_the_rest(aws, config.project_name, strangers)
            return
        display.table(["what goes", "address"], [(change.type, change.address) for change in changes])
        if kept:
            display.note(f"Stays: {', '.join(kept)} (data, kept for the next deploy).")
        if not yes and not display.confirm(
            _question(changes), otherwise="Add --yes.", unchanged="Nothing was removed."
        ):
            display.note("Nothing was removed.")
            return
        terraform.apply()
    display.note(f"Removed.{_kept(kept, aws.region)}")
    _warn_of_the_rest(aws, config.project_name, strangers, removed=[change.identity for change in changes])


@dataclass(frozen=True)
class _Memory:
    """What a deployment was made with, and the zone its data volumes are bound to where they are all there is of it."""

    choices: Choices
    zone: str = ""


def _remembered(aws: Aws, terraform: Terraform, outputs: Mapping[str, Any]) -> _Memory:
    """What the deployment remembers; after a removal, or a deploy that did not finish, what its data volumes are."""
    before = choices.remembered(outputs)
    if not outputs or deployed.there(aws.ec2(), deployed.ids_in(outputs)):
        return _Memory(before)
    held = terraform.resources()
    volumes = [values for address, values in held.items() if address.split(".")[0] == DATA_VOLUME]
    if before and len(volumes) < len(held):
        return _Memory(before)
    return _Memory(choices.of_kept_data(volumes), next((one["availability_zone"] for one in volumes), ""))


def _take_strays(aws: Aws, config: Config, project: _Project, outputs: Mapping[str, Any]) -> Sequence[str]:
    """Take over the machines that no state knows, so that they are removed, too; returns those that are not ours."""
    known = deployed.ids_in(outputs)
    unnamed = adoption.look(aws, project.terraform, project=config.project_name, known=known)
    if unnamed.ours:
        count = len(unnamed.places_held) + len(unnamed.ours)
        project.synthesize({**_LOOKING, "region": aws.region, "count": count})
        adoption.take(project.terraform, unnamed, adoption.places(aws, unnamed, count=count))
    return [one.instance_id for one in unnamed.strangers]


def _warn_of_the_rest(
    aws: Aws, project: str, strangers: Sequence[str], *, removed: Collection[str] = frozenset()
) -> None:
    """Say what has the project's tags and is in no state. What is in use cannot be told from what is not, where any
    of its machines run: then only those are named.
    """
    adoption.warn_of(strangers, project, aws.region)
    if not strangers:
        remains.warn_of(aws, project, removed=removed)


def _release_data(terraform: Terraform, region: str) -> None:
    """Leave the data volumes where they are, and forget them: they are a person's to look after from now on."""
    held = terraform.resources()
    volumes = {address: str(values.get("id")) for address, values in held.items() if address.startswith(DATA_VOLUME)}
    if volumes:
        terraform.forget([*(address for address in held if address.startswith("aws_volume_attachment.")), *volumes])
        ids = ", ".join(volumes.values())
        display.note(
            f"Released: {ids}, with the data. It costs money until aws ec2 delete-volume --region {region} ends it."
        )


def _plan(terraform: Terraform, *, allow_replace: bool) -> Plan:
    """Plan, and keep what a deploy that was cut had launched or made and Terraform would make anew for that alone.

    An interrupt or a lost network while the provider waits for a machine to run has Terraform note it as unfinished: it
    runs, on a paid block that has no room for another. Whoever allows replacing may have marked it so on purpose.
    """
    plan = terraform.plan()
    unfinished = [change for change in plan.changes if change.is_loss and change.is_unfinished]
    if not unfinished or allow_replace:
        return plan
    for change in unfinished:
        terraform.keep(change.address)
        display.note(f"{change.identity} was made by a deploy that could not finish: it is taken over.")
    return terraform.plan()


def _apply(terraform: Terraform, plan: Plan, guard: Callable[[Sequence[Change]], None], *, home: str) -> bool:
    """Carry out the plan, if it passes the guard; whether anything was to change."""
    guard(plan.changes)
    if not plan.changes:
        display.note("Nothing to change.")
        if plan.outputs:  # among them what the deployment remembers
            terraform.apply()
        return False
    display.note(f"Applying: {_summary(plan.changes)}")
    if plan.launches and plan.groundwork:
        # First what machines are made from, so that the state knows it: see `adoption`.
        guard(terraform.plan_groundwork(plan.groundwork).changes)
        terraform.apply()
        guard(terraform.plan().changes)
    terraform.apply()
    display.note("Applied.")
    if any(change.type == DATA_VOLUME and change.verb == "update" for change in plan.changes):
        display.note(
            "A data volume may be larger now than its file system. On the machine:"
            f" sudo resize2fs $(findmnt -no SOURCE {home})"
        )
    return True


@contextmanager
def launched(instance_ids: Sequence[str], again: str) -> Iterator[None]:
    """What fails from here on leaves machines running: SetupError says which, and that `again` goes on with them.

    The kinds that elsewhere mean "nothing was changed" would be wrong here, and so would their exit status.
    """
    try:
        yield
    except Detached:
        raise
    except TorchNeuronError as error:
        if isinstance(error, SetupError) and again in error.do:
            raise
        on = f"{', '.join(instance_ids)}: deployed all the same. This goes on with it: {again}"
        raise SetupError(error.what, why=error.why, do="\n".join(filter(None, (error.do, on)))) from error


def _settle(
    aws: Aws,
    config: Config,
    memory: _Memory,
    given: Mapping[str, Any],
    merged: Choices,
    *,
    running: Sequence[Machine],
    allow_replace: bool,
) -> Choices:
    """All choices of this deploy, checked as far as can be known before Terraform plans.

    `merged` are those given laid over those remembered; `running` are its machines.
    """
    before, wanted = memory.choices, {**merged, "region": aws.region}
    block = wanted.get("capacityReservationId")
    if block and block not in given.values() and preflight.is_over(aws, block):
        display.note(f"The Capacity Block {block} is over: the one in Parameter Store is taken from now on.")
        wanted = choices.without_place(wanted, given)
    if preflight.needs_subnet(config, wanted):
        instance_type = wanted.get("instanceType") or config.default_instance_type
        wanted["subnetId"] = preflight.find_subnet(aws, instance_type, running, memory.zone)
    deployment = config.deployment(wanted)
    # Without a memory of a place, what runs was launched by a deploy that did not finish: here.
    elsewhere = "useCapacityBlock" in before and any(wanted.get(name) != before.get(name) for name in choices.PLACE)
    # In another place all of them are new; in the same one, those that are replaced make room for those that come.
    launching = deployment.count if elsewhere else max(deployment.count - len(running), 0)
    if launching and before:
        display.note(f"As at the deploy before, but for what was given now: {choices.in_words(wanted)}.")
    if launching or allow_replace or given.get("refreshAmi"):
        preflight.check_place(aws, deployment, launching=launching)
    return wanted


class _Project:
    """The folder of a region's deployment, where its configuration is synthesized for Terraform.

    Each region has a folder of its own, apart from the one plain `cdktf` writes.
    """

    def __init__(self, config: Config, region: str) -> None:
        self._config = config
        self._region = region
        self.folder = _folder(config, region)
        # Enough to connect to the state, whatever the choices are: they are read from there.
        self.terraform = self.synthesize({**_LOOKING, "region": region})

    def outputs(self) -> dict[str, Any]:
        """What the state says is deployed. Raises InputError when that is another region's."""
        found = self.terraform.outputs()
        _refuse_another_region(found, self._region)
        return found

    def synthesize(self, overrides: Mapping[str, Any]) -> Terraform:
        """Run main.py as cdktf would, with `overrides` as CDKTF's context."""
        environment = {
            **os.environ,
            "TORCHNEURON_CONFIG": str(self._config.path),
            "CDKTF_CONTEXT_JSON": json.dumps(overrides),
            "CDKTF_OUTDIR": str(self.folder),
            "CHECKPOINT_DISABLE": "1",
        }
        with display.waiting("Synthesizing"):
            command = [sys.executable, str(PROJECT_ROOT / "main.py")]
            done = run_to_its_end(command, folder=PROJECT_ROOT, environment=environment)
        if done.status != 0:
            raise TerraformError("Synthesis failed.", why=done.stderr.strip()[-4000:])
        return Terraform(self.folder / "stacks" / self._config.project_name)


def _folder(config: Config, region: str) -> Path:
    return config.output_dir / "invoke" / region


@contextmanager
def _connected(config: Config, region: str) -> Iterator[_Project]:
    """The region's deployment, connected to its state, and nobody else's meanwhile.

    Its folder holds one synthesis and one plan at a time, hence the lock.
    """
    _refuse_without_state(config, region)
    folder = _folder(config, region)
    with locks.held(folder.with_name(f"{region}.lock"), f"the deployment in {region}", seconds=_BUSY_SECONDS):
        project = _Project(config, region)
        project.terraform.init()
        project.terraform.recover()
        yield project


def _refuse_without_state(config: Config, region: str) -> None:
    backend = config.backend_for(region)
    if isinstance(backend, S3Backend) and backend.bucket is None:
        raise InputError(
            "There is no state bucket yet.",
            why="Terraform keeps what it has made in S3, and the settings name no bucket.",
            do=f"Run: invoke bootstrap -r {region}",
        )


def _refuse_another_region(outputs: Mapping[str, Any], region: str) -> None:
    """A workspace that serves two regions would have the machines of the first taken for gone."""
    there = outputs.get("region", region)
    if there != region:
        raise InputError(
            f"This state holds the deployment in {there}, not one in {region}.",
            do='Give each region a workspace of its own: "workspace": "a-name-{region}" in the settings.',
        )


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


def _summary(changes: Sequence[Change]) -> str:
    verbs = [change.verb for change in changes]
    return ", ".join(f"{verbs.count(verb)} to {verb}" for verb in sorted(set(verbs)))
