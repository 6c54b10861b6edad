"""From settings to running machines: read the state, synthesize, plan, check the plan, apply. Back: `destroy`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torchneuron.aws import account
from torchneuron.aws.ec2 import Instance, existing_instances
from torchneuron.aws.session import Aws
from torchneuron.capacity_blocks import block_choice, launch_check
from torchneuron.capacity_blocks.block_choice import Place
from torchneuron.capacity_blocks.launch_check import Launch
from torchneuron.core import display
from torchneuron.core.config import Config
from torchneuron.core.errors import Detached, InputError, NotFoundError, SetupError, TerraformError, TorchNeuronError
from torchneuron.core.text import command
from torchneuron.deploy import adoption, inventory, on_demand, preflight
from torchneuron.deploy import memory as deploy_memory
from torchneuron.deploy.inventory import Deployed
from torchneuron.deploy.memory import Choices
from torchneuron.deploy.options import DeployOptions
from torchneuron.deploy.state import State
from torchneuron.deploy.terraform import Terraform
from torchneuron.deploy.terraform_failures import LockedError
from torchneuron.deploy.terraform_plan import ATTACHMENT, DATA_VOLUME, MACHINE, Change, Plan, refuse_losses
from torchneuron.deploy.workspace import Workspace, connected, copied, read_state, refuse_without_state


def deploy(config: Config, aws: Aws, options: DeployOptions) -> Deployed:
    """Deploy what the settings, the deployment's memory and the options say, and return what is deployed then.

    Asks before it launches on demand. Raises InputError, AccessError and NotFoundError before anything is changed,
    Declined for a no, ReplacementRefusedError when the plan would lose a machine, TerraformError when Terraform fails,
    SetupError when what was deployed cannot be described.
    """
    given = options.settings()
    _check(config, aws, given)
    with connected(config, aws.region) as workspace:
        prepared = _prepare(workspace, config, aws, given, options)
        outputs = _apply(workspace, prepared, home=config.home_folder)
        if prepared.plan.launches and prepared.place:
            block_choice.save_current(aws, config.project_name, prepared.place)
    if not prepared.plan.changes:
        return inventory.from_outputs(aws, outputs)
    ids = inventory.instance_ids(outputs)
    only = ("-i", ids[0]) if len(ids) == 1 else ()
    with launched(ids, command("invoke setup", *only, "-r", aws.region)):
        return inventory.from_outputs(aws, outputs)


def try_out(config: Config, aws: Aws, options: DeployOptions) -> Plan:
    """Run a deploy up to its plan, on a copy of the state: nothing is changed, locked or asked.

    Returns what a deploy would change. Raises as `deploy` does before it changes anything.
    """
    given = options.settings()
    _check(config, aws, given)
    with copied(config, aws.region) as workspace:
        return _prepare(workspace, config, aws, given, dataclasses.replace(options, yes=True)).plan


@dataclass(frozen=True)
class _Prepared:
    """A plan that may be applied, and the state before it. `place` is None on demand."""

    plan: Plan
    state: State
    launch: adoption.Launch
    place: Place | None


def _check(config: Config, aws: Aws, given: Mapping[str, Any]) -> None:
    config.check(given)
    refuse_without_state(config, aws.region)
    account.announce(aws)


def _prepare(
    workspace: Workspace, config: Config, aws: Aws, given: Mapping[str, Any], options: DeployOptions
) -> _Prepared:
    """Everything before the apply: what is deployed, what is wanted, the plan, and whether it may be applied."""
    terraform, state = workspace.terraform, workspace.state()
    memory = _remembered(aws, state)
    wanted = deploy_memory.merged(memory.choices, given)
    untracked = adoption.find(aws, state, workspace.launch_record.unfinished(), project=config.project_name)
    assigned = adoption.assign(aws, state, untracked, count=wanted.get("count", 1))
    adoption.refuse_others(aws, untracked, assigned, project=config.project_name)
    ids = [machine.instance_id for machine in (*untracked.in_state, *assigned.values())]
    running = existing_instances(aws.ec2(), [*inventory.instance_ids(state.outputs), *ids])
    allow_replace = options.allow_replace
    wanted = _settle(aws, config, memory, given, wanted, running=running, allow_replace=allow_replace)
    workspace.synthesize(wanted)
    if not allow_replace:
        _keep_unfinished(terraform, state, running)
    state = _import(workspace, aws, state, assigned)
    guard = functools.partial(refuse_losses, allow_replace=allow_replace, refresh_ami=bool(given.get("refreshAmi")))
    plan = _plan(terraform, aws, state, assigned)
    guard([change for change in plan.changes if not (options.release_data and change.type == DATA_VOLUME)])
    deployment = config.deployment(wanted)
    if plan.launches and not wanted.get("useCapacityBlock"):
        on_demand.confirm(aws, deployment.instance_type, plan.launches, yes=options.yes)
    if options.release_data:
        # What else would be lost has to be known before the volumes are forgotten.
        if deployment.data_volume_size:
            _refuse_to_release_what_is_in_use(running, plan.changes, aws.region)
        state = _release_data(terraform, state, aws.region)
        plan = _plan(terraform, aws, state, assigned)
        guard(plan.changes)
    block, subnet = wanted.get("capacityReservationId") or "", wanted.get("subnetId") or ""
    launch = adoption.Launch(deployment.instance_type, block, subnet)
    return _Prepared(plan, state, launch, Place(block, subnet) if block and subnet else None)


def _import(workspace: Workspace, aws: Aws, state: State, assigned: Mapping[str, Instance]) -> State:
    """Have the plan import the assigned machines, in place of machines that are gone; the state without those."""
    if not assigned:
        return state
    if gone := [address for address in assigned if address in state.resources]:
        workspace.terraform.forget(gone)
        state = state.without(gone)
    workspace.add_imports(adoption.imports(aws, state, assigned))
    adoption.announce(assigned.values())
    return state


def _plan(terraform: Terraform, aws: Aws, state: State, assigned: Mapping[str, Instance]) -> Plan:
    try:
        return terraform.plan(state)
    except TerraformError as error:
        if not assigned or isinstance(error, LockedError):
            raise
        ids = [machine.instance_id for machine in assigned.values()]
        way_out = f"If {' '.join(ids)} cannot be imported, terminate it: {adoption.terminate(ids, aws.region)}"
        raise TerraformError(error.what, why=error.why, do="\n".join(filter(None, (error.do, way_out)))) from error


def _keep_unfinished(terraform: Terraform, state: State, running: Sequence[Instance]) -> None:
    """Keep machines and volumes whose creation was interrupted, and that Terraform would replace only for that.

    An interrupt, or a lost network, while the provider waits for a machine to run has Terraform taint it: it runs, on a
    paid block that has no room for another. Whoever allows replacing may have tainted it on purpose.
    """
    ids = {machine.instance_id for machine in running}
    for address in sorted(state.tainted):
        kind, identity = address.partition(".")[0], state.ids[address]
        if kind == DATA_VOLUME or (kind == MACHINE and identity in ids):
            terraform.untaint(address)
            display.note(f"{identity} was created by a deploy that did not finish: keeping it.")


def info(config: Config, aws: Aws) -> Deployed:
    """What is deployed in the region: by Terraform's state, or by tags where no state can be read.

    Raises NotFoundError when nothing is, LockedError and BusyError when another command keeps the state from being
    read.
    """
    try:
        return inventory.from_outputs(aws, read_state(config, aws.region).outputs)
    except LockedError:
        raise
    except (InputError, TerraformError, NotFoundError) as error:
        try:
            found = inventory.by_tags(aws, config.project_name)
        except NotFoundError:
            raise error from None
        display.warn(f"found by its tags, not by a state. {error.what}")
        return found


@dataclass(frozen=True)
class _Memory:
    """The choices that a deployment remembers. `zone` is that of its data volumes if nothing else is left of it."""

    choices: Choices
    zone: str = ""


def _remembered(aws: Aws, state: State) -> _Memory:
    """What the deployment remembers; after a removal, or a deploy that did not finish, what its data volumes are."""
    before = deploy_memory.remembered(state.outputs)
    if not state.outputs or existing_instances(aws.ec2(), inventory.instance_ids(state.outputs)):
        return _Memory(before)
    volumes = list(state.of_type(DATA_VOLUME).values())
    if before and len(volumes) < len(state.resources):
        return _Memory(before)
    zone = next((str(volume["availability_zone"]) for volume in volumes), "")
    return _Memory(deploy_memory.of_kept_data(volumes), zone)


def _refuse_to_release_what_is_in_use(running: Sequence[Instance], changes: Sequence[Change], region: str) -> None:
    """Raise InputError while a machine uses a volume: EC2 refuses to attach another in its place."""
    ending = [change for change in changes if change.type == MACHINE and "delete" in change.actions]
    if len(running) > len(ending):
        raise InputError(
            f"{', '.join(machine.instance_id for machine in running)} runs with the data volumes. Nothing was changed.",
            why="A new volume cannot be attached while the machine has its volume.",
            do="To continue without data volumes, add --data-volume-size 0. To start with empty ones, remove it"
            f" first: invoke destroy -r {region}",
        )


def _release_data(terraform: Terraform, state: State, region: str) -> State:
    """Remove the data volumes from the state, and leave them in AWS, where a person looks after them from now on."""
    volumes = state.of_type(DATA_VOLUME)
    if not volumes:
        return state
    released = [*state.of_type(ATTACHMENT), *volumes]
    terraform.forget(released)
    ids = ", ".join(state.ids[address] for address in volumes)
    display.note(
        f"Released: {ids}, with the data. It costs money until you run aws ec2 delete-volume --region {region}."
    )
    return state.without(released)


def _apply(workspace: Workspace, prepared: _Prepared, *, home: str) -> Mapping[str, Any]:
    """Apply the plan; returns the outputs."""
    plan, terraform = prepared.plan, workspace.terraform
    if not plan.changes:
        display.note("Nothing to change.")
        # Outputs include what the deployment remembers.
        return terraform.apply() if plan.outputs else prepared.state.outputs
    display.note(f"Applying: {_summary(plan.changes)}")
    if plan.launches:
        workspace.launch_record.begin(prepared.launch)
    outputs = terraform.apply()
    workspace.launch_record.succeed()
    display.note("Applied.")
    if any(change.type == DATA_VOLUME and change.verb == "update" for change in plan.changes):
        display.note(
            "A data volume may be larger now than its file system. On the machine:"
            f" sudo resize2fs $(findmnt -no SOURCE {home})"
        )
    return outputs


@contextmanager
def launched(instance_ids: Sequence[str], again: str) -> Iterator[None]:
    """Turn errors of the block into SetupError: machines run now, and the command `again` resumes.

    The errors that mean "nothing was changed" elsewhere would be wrong here, and so would their exit status.
    """
    try:
        yield
    except Detached:
        raise
    except TorchNeuronError as error:
        if isinstance(error, SetupError) and again in error.do:
            raise
        resume = f"{', '.join(instance_ids)} is deployed. Resume with: {again}"
        raise SetupError(error.what, why=error.why, do="\n".join(filter(None, (error.do, resume)))) from error


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
    """All choices of this deploy, checked as far as possible before Terraform plans.

    `merged` are the remembered choices, overridden by those given; `running` are the deployment's machines.
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
    # If no place is remembered, a deploy that did not finish launched what runs, in this place.
    elsewhere = "useCapacityBlock" in before and any(
        wanted.get(name) != before.get(name) for name in deploy_memory.PLACE
    )
    # In another place every machine is new; in the same one, replaced machines make room for new ones.
    launching = deployment.count if elsewhere else max(deployment.count - len(running), 0)
    if launching and before:
        display.note(f"Keeping settings from the previous deploy: {deploy_memory.summary(wanted)}.")
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
