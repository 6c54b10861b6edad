"""From settings to running machines: synth, plan, guard, apply. The way back: `removal`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torchneuron.aws import account
from torchneuron.aws.ec2 import Instance, existing_instances
from torchneuron.aws.session import Aws
from torchneuron.capacity_blocks import block_choice, launch_check
from torchneuron.capacity_blocks.block_choice import Place
from torchneuron.capacity_blocks.launch_check import Launch
from torchneuron.core import display, locks
from torchneuron.core.config import Config
from torchneuron.core.errors import Detached, InputError, NotFoundError, SetupError, TerraformError, TorchNeuronError
from torchneuron.core.text import command
from torchneuron.deploy import adoption, inventory, on_demand, preflight
from torchneuron.deploy import memory as deploy_memory
from torchneuron.deploy.inventory import Deployed
from torchneuron.deploy.memory import Choices
from torchneuron.deploy.terraform import Terraform
from torchneuron.deploy.terraform_plan import ATTACHMENT, DATA_VOLUME, MACHINE, Change, Plan, of_type, refuse_losses
from torchneuron.deploy.workspace import Project, connected, copied, refuse_without_state


def deploy(
    config: Config,
    aws: Aws,
    given: Mapping[str, Any],
    *,
    allow_replace: bool = False,
    release_data: bool = False,
    yes: bool = False,
) -> Deployed:
    """Make the deployment what the settings, its own memory and `given` say, and return what is there then.

    With `release_data`, data volumes stay in AWS and are no more a part of it. Asks before it launches on demand,
    unless `yes`. Raises InputError, AccessError and NotFoundError before anything is changed, Declined for a no,
    ReplacementRefusedError when the plan would lose a machine, TerraformError when Terraform fails, SetupError when
    what was made cannot be looked at.
    """
    _check(config, aws, given)
    with connected(config, aws.region) as project:
        prepared = _prepare(
            project, config, aws, given, allow_replace=allow_replace, release_data=release_data, yes=yes
        )
        terraform = prepared.terraform
        changed = _apply(terraform, prepared.plan, prepared.guard, home=config.home_folder)
        outputs = terraform.outputs()
        if prepared.plan.launches and prepared.place:
            block_choice.save_current(aws, config.project_name, prepared.place)
    if not changed:
        return inventory.from_outputs(aws, outputs)
    ids = inventory.instance_ids(outputs)
    only = ("-i", ids[0]) if len(ids) == 1 else ()
    with launched(ids, command("invoke setup", *only, "-r", aws.region)):
        return inventory.from_outputs(aws, outputs)


def try_out(config: Config, aws: Aws, given: Mapping[str, Any], *, allow_replace: bool, release_data: bool) -> Plan:
    """All of a deploy up to its plan, on a copy of the state: nothing is changed, locked or asked.

    Returns what a deploy would change. Raises as `deploy` does before it changes anything.
    """
    _check(config, aws, given)
    with copied(config, aws.region) as project:
        return _prepare(
            project, config, aws, given, allow_replace=allow_replace, release_data=release_data, yes=True
        ).plan


_Guard = Callable[[Sequence[Change]], None]


@dataclass(frozen=True)
class _Prepared:
    """A plan that has passed the guard. `place` is None on demand."""

    terraform: Terraform
    plan: Plan
    guard: _Guard
    place: Place | None


def _check(config: Config, aws: Aws, given: Mapping[str, Any]) -> None:
    config.check(given)
    refuse_without_state(config, aws.region)
    account.announce(aws)


def _prepare(
    project: Project,
    config: Config,
    aws: Aws,
    given: Mapping[str, Any],
    *,
    allow_replace: bool,
    release_data: bool,
    yes: bool,
) -> _Prepared:
    """Everything before the apply: what there is, what is wanted, the plan, and whether it may be carried out."""
    outputs = project.outputs()
    known = inventory.instance_ids(outputs)
    memory = _remembered(aws, project.terraform, outputs)
    wanted = deploy_memory.merged(memory.choices, given)
    unnamed = adoption.look(aws, project.terraform, project=config.project_name, known=known)
    strays = adoption.places(aws, unnamed, count=wanted.get("count", 1))
    adoption.refuse_others(aws, unnamed, strays, project=config.project_name)
    held = [one.instance_id for one in unnamed.held]
    running = existing_instances(aws.ec2(), [*known, *held, *strays.values()])
    wanted = _settle(aws, config, memory, given, wanted, running=running, allow_replace=allow_replace)
    terraform = project.synthesize(wanted)
    adoption.take(terraform, unnamed, strays)
    guard = functools.partial(refuse_losses, allow_replace=allow_replace, refresh_ami=bool(given.get("refreshAmi")))
    plan = _plan(terraform, allow_replace=allow_replace)
    guard([change for change in plan.changes if not (release_data and change.type == DATA_VOLUME)])
    if plan.launches and not wanted.get("useCapacityBlock"):
        on_demand.confirm(aws, config.deployment(wanted).instance_type, plan.launches, yes=yes)
    if release_data:
        # What else would be lost has to be known before the volumes are forgotten.
        if config.deployment(wanted).data_volume_size:
            _refuse_to_release_what_is_in_use(running, plan.changes, aws.region)
        _release_data(terraform, aws.region)
        plan = _plan(terraform, allow_replace=allow_replace)
        guard(plan.changes)
    block, subnet = wanted.get("capacityReservationId"), wanted.get("subnetId")
    return _Prepared(terraform, plan, guard, Place(block, subnet) if block and subnet else None)


def info(config: Config, aws: Aws) -> Deployed:
    """What is deployed in the region: by Terraform's state, or by tags where that is not at hand.

    Raises NotFoundError when nothing is.
    """
    try:
        with connected(config, aws.region) as project:
            outputs = project.outputs()
        return inventory.from_outputs(aws, outputs)
    except (InputError, TerraformError, NotFoundError, locks.BusyError) as error:
        try:
            found = inventory.by_tags(aws, config.project_name)
        except NotFoundError:
            raise error from None
        display.warn(f"found by its tags, not by a state. {error.what}")
        return found


@dataclass(frozen=True)
class _Memory:
    """What a deployment was made with, and the zone its data volumes are bound to where they are all there is of it."""

    choices: Choices
    zone: str = ""


def _remembered(aws: Aws, terraform: Terraform, outputs: Mapping[str, Any]) -> _Memory:
    """What the deployment remembers; after a removal, or a deploy that did not finish, what its data volumes are."""
    before = deploy_memory.remembered(outputs)
    if not outputs or existing_instances(aws.ec2(), inventory.instance_ids(outputs)):
        return _Memory(before)
    held = terraform.resources()
    volumes = list(of_type(held, DATA_VOLUME).values())
    if before and len(volumes) < len(held):
        return _Memory(before)
    return _Memory(deploy_memory.of_kept_data(volumes), next((one["availability_zone"] for one in volumes), ""))


def _refuse_to_release_what_is_in_use(running: Sequence[Instance], changes: Sequence[Change], region: str) -> None:
    """A machine that stays has its volume where the new one is to be attached: EC2 would refuse that, each time."""
    ending = [change for change in changes if change.type == MACHINE and "delete" in change.actions]
    if len(running) > len(ending):
        raise InputError(
            f"{', '.join(one.instance_id for one in running)} runs with the data volumes. Nothing was changed.",
            why="A new volume would have to be where the machine has its volume now.",
            do="To go on without data volumes, add --data-volume-size 0. To begin with empty ones, end the machine"
            f" first: invoke destroy -r {region}",
        )


def _release_data(terraform: Terraform, region: str) -> None:
    """Leave the data volumes where they are, and forget them: they are a person's to look after from now on."""
    held = terraform.resources()
    if volumes := of_type(held, DATA_VOLUME):
        terraform.forget([*of_type(held, ATTACHMENT), *volumes])
        ids = ", ".join(str(one.get("id")) for one in volumes.values())
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


def _apply(terraform: Terraform, plan: Plan, guard: _Guard, *, home: str) -> bool:
    """Carry out the plan, which has passed the guard; whether anything was to change."""
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
    running: Sequence[Instance],
    allow_replace: bool,
) -> Choices:
    """All choices of this deploy, checked as far as can be known before Terraform plans.

    `merged` are those given laid over those remembered; `running` are its machines.
    """
    before, wanted = memory.choices, {**merged, "region": aws.region}
    block = wanted.get("capacityReservationId")
    if block and block not in given.values() and block_choice.is_over(aws, block):
        display.note(f"The Capacity Block {block} is over.")
        wanted = deploy_memory.without_place(wanted, given)
    if wanted.get("useCapacityBlock") and "useCapacityBlock" not in before:
        wanted = {**deploy_memory.place_of(running), **wanted}
    if preflight.needs_subnet(config, wanted):
        instance_type = wanted.get("instanceType") or config.default_instance_type
        wanted["subnetId"] = preflight.find_subnet(aws, instance_type, running, memory.zone)
    deployment = config.deployment(wanted)
    # Without a memory of a place, what runs was launched by a deploy that did not finish: here.
    elsewhere = "useCapacityBlock" in before and any(
        wanted.get(name) != before.get(name) for name in deploy_memory.PLACE
    )
    # In another place all of them are new; in the same one, those that are replaced make room for those that come.
    launching = deployment.count if elsewhere else max(deployment.count - len(running), 0)
    if launching and before:
        display.note(f"As at the deploy before, but for what was given now: {deploy_memory.in_words(wanted)}.")
    if not (launching or allow_replace or given.get("refreshAmi")):
        return wanted
    launch = Launch(
        deployment.instance_type,
        max(launching, 1),
        subnet_id=deployment.subnet_id or "",
        is_named="subnetId" in given,
    )
    if not deployment.use_capacity_block:
        if launching and "useCapacityBlock" not in given:
            block_choice.require_launch_choice(aws, deployment.instance_type)
        launch_check.refuse(aws, config, launch)
        return wanted
    place = block_choice.choose(aws, deployment, launching=launching)
    on_block = dataclasses.replace(
        launch, subnet_id=place.subnet_id, on_block=True, reservation_id=place.reservation_id
    )
    launch_check.refuse(aws, config, on_block)
    return {**wanted, "capacityReservationId": place.reservation_id, "subnetId": place.subnet_id}


def _summary(changes: Sequence[Change]) -> str:
    verbs = [change.verb for change in changes]
    return ", ".join(f"{verbs.count(verb)} to {verb}" for verb in sorted(set(verbs)))
