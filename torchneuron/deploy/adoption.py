"""Running machines that a deploy launched and did not get to record in the state: it was killed at that moment.

Terraform writes its state to the backend every 20 seconds and at the end, so an instance may run, on a paid Capacity
Block that has room for no other, and be in no state. The next deploy imports it, with what it was launched from, if it
is surely this deployment's: it has the project's tags, and either its launch template is in this state, or an apply
that began in this folder did not succeed and the instance is of the type, on the reservation and in the subnet of that
apply. Any other deployment of the same name keeps its machines.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torchneuron.aws.ec2 import Instance, existing_instances
from torchneuron.aws.errors import calling
from torchneuron.aws.session import Aws
from torchneuron.core import display, files
from torchneuron.core.errors import InputError
from torchneuron.core.text import quoted
from torchneuron.deploy import inventory
from torchneuron.deploy.state import State
from torchneuron.deploy.terraform_plan import DATA_VOLUME, MACHINE, TEMPLATE

GROUP, PROFILE, ROLE, PERMISSION = (
    f"{kind}.machine"
    for kind in ("aws_security_group", "aws_iam_instance_profile", "aws_iam_role", "aws_iam_role_policy")
)


@dataclass(frozen=True)
class Launch:
    """What an apply launches: the instance type, and the reservation and the subnet where one is named."""

    instance_type: str
    reservation_id: str = ""
    subnet_id: str = ""

    def matches(self, machine: Instance) -> bool:
        return (
            machine.instance_type == self.instance_type
            and machine.reservation_id == self.reservation_id
            and self.subnet_id in ("", machine.subnet_id)
        )


class LaunchRecord:
    """A file that says that an apply which launches machines began here and has not succeeded yet.

    It lies among Terraform's own records of the folder, so it goes when the folder is connected to another state.
    """

    def __init__(self, data_folder: Path) -> None:
        self._path = data_folder / "torchneuron-launch.json"

    def begin(self, launch: Launch) -> None:
        """Record a launch, unless an earlier one has not succeeded: its machines may still have to be found."""
        if not self._path.exists():
            files.write_atomically(self._path, json.dumps(asdict(launch)))

    def succeed(self) -> None:
        self._path.unlink(missing_ok=True)

    def unfinished(self) -> Launch | None:
        try:
            return Launch(**json.loads(self._path.read_text()))
        except (OSError, ValueError, TypeError):
            return None


@dataclass(frozen=True)
class Untracked:
    """The project's running machines that the outputs do not name.

    `in_state` are in the state, but not in its outputs: a deploy stopped in between. `adoptable` are in no state,
    but surely this deployment's; `foreign` may be another's.
    """

    in_state: tuple[Instance, ...] = ()
    adoptable: tuple[Instance, ...] = ()
    foreign: tuple[Instance, ...] = ()


def find(aws: Aws, state: State, unfinished: Launch | None, *, project: str) -> Untracked:
    """The project's running machines besides those that the state's outputs name.

    `unfinished` is a launch from this folder that has not succeeded.
    """
    known = inventory.instance_ids(state.outputs)
    running = [machine for machine in inventory.live_instances(aws.ec2(), project) if machine.instance_id not in known]
    ids = set(state.ids.values())
    templates = {str(attributes.get("id")) for attributes in state.of_type(TEMPLATE).values()}
    in_state, adoptable, foreign = [], [], []
    for machine in running:
        if machine.instance_id in ids:
            in_state.append(machine)
        elif machine.template_id in templates or (
            not templates and machine.template_id and unfinished and unfinished.matches(machine)
        ):
            adoptable.append(machine)
        else:
            foreign.append(machine)
    return Untracked(tuple(in_state), tuple(adoptable), tuple(foreign))


def assign(aws: Aws, state: State, untracked: Untracked, *, count: int) -> dict[str, Instance]:
    """The adoptable machines by the address that each gets, as far as `count` has room.

    An address is free if the state has no machine there, or one that is gone.
    """
    if not untracked.adoptable:
        return {}
    recorded = {address: str(attributes.get("id")) for address, attributes in state.of_type(MACHINE).items()}
    running = {machine.instance_id for machine in existing_instances(aws.ec2(), list(recorded.values()))}
    addresses = [f"{MACHINE}.machine[{index}]" for index in range(count)]
    free = [address for address in addresses if recorded.get(address) not in running]
    return dict(zip(free, untracked.adoptable, strict=False))


def refuse_others(aws: Aws, untracked: Untracked, assigned: Mapping[str, Instance], *, project: str) -> None:
    """Raise InputError for a machine that may be another deployment's, or that `count` has no room for."""
    others = [*untracked.foreign, *(machine for machine in untracked.adoptable if machine not in assigned.values())]
    if others:
        ids = [machine.instance_id for machine in others]
        raise InputError(
            f"{' '.join(ids)} runs with this project's tags, and this state does not have it. Nothing was changed.",
            why=f"Another deployment called {project} may have launched it, with its state elsewhere;"
            " or a deploy that was killed did.",
            do="If somebody uses it, give this deployment another projectName. If nobody does, terminate it, then run"
            f" the same command again: {terminate(ids, aws.region)}",
        )


def imports(aws: Aws, state: State, assigned: Mapping[str, Instance]) -> dict[str, str]:
    """What to import for the assigned machines: ids by address.

    Besides the machines it is what they were launched from and the state does not have: the killed deploy may not have
    recorded that either, and a machine launched from anything else would be replaced.
    """
    if not assigned:
        return {}
    machine = next(iter(assigned.values()))
    found = {address: machine.instance_id for address, machine in assigned.items()}
    wanted = {f"{TEMPLATE}.machine": machine.template_id}
    if len(machine.security_group_ids) == 1:
        wanted[GROUP] = machine.security_group_ids[0]
    if machine.profile_arn:
        wanted |= _identity(aws, machine.profile_arn.rpartition("/")[2])
    volumes = inventory.data_volumes(aws, [machine.instance_id for machine in assigned.values()])
    for address, machine in assigned.items():
        if volume := volumes.get(machine.instance_id):
            wanted[f"{DATA_VOLUME}.data[{address.partition('[')[2]}"] = volume
    return found | {address: identity for address, identity in wanted.items() if address not in state.resources}


def _identity(aws: Aws, profile_name: str) -> dict[str, str]:
    with calling("look at the instance profile"):
        roles = aws.iam().get_instance_profile(InstanceProfileName=profile_name)["InstanceProfile"]["Roles"]
    found = {PROFILE: profile_name}
    if roles:
        role = str(roles[0]["RoleName"])
        found |= {ROLE: role, PERMISSION: f"{role}:machine"}
    return found


def announce(machines: Collection[Instance]) -> None:
    for machine in machines:
        display.note(f"{machine.instance_id} was launched by a deploy that did not finish: importing it.")


def warn_of(instance_ids: Sequence[str], project: str, region: str) -> None:
    """Name machines that still run with the project's tags, and cost money, after a removal."""
    if instance_ids:
        display.warn(
            f"{' '.join(instance_ids)} still runs with this project's tags, and is in no state: a deploy that was"
            f" killed, or another deployment called {project}, launched it. If nobody uses it:"
            f" {terminate(instance_ids, region)}"
        )


def terminate(instance_ids: Collection[str], region: str) -> str:
    """The command that terminates machines which no state has."""
    return f"aws ec2 terminate-instances --region {region} --instance-ids {' '.join(map(quoted, instance_ids))}"
