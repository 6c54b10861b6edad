"""The block to deploy on, kept in Parameter Store: both Terraform and people read it from there.

Six parameters a region. The reservation and the subnet are what a deployment needs, and only together do they mean
anything; the others say what was saved without asking EC2. All are written or none is.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from torchneuron.aws import parameters
from torchneuron.capacity_blocks import reservations
from torchneuron.capacity_blocks.reservations import GONE, Reservation
from torchneuron.connectivity import subnets
from torchneuron.core import options, tags
from torchneuron.core.errors import AwsError, InputError, NotFoundError
from torchneuron.core.text import iso, iso_or_none, quoted

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ssm import SSMClient

T = TypeVar("T")


@dataclass(frozen=True)
class Names:
    """The parameters of one region."""

    region: str

    @property
    def reservation(self) -> str:
        return self._named("reservation-id")

    @property
    def subnet(self) -> str:
        return self._named("subnet-id")

    @property
    def zone(self) -> str:
        return self._named("availability-zone")

    @property
    def instance_type(self) -> str:
        return self._named("instance-type")

    @property
    def start(self) -> str:
        return self._named("start")

    @property
    def end(self) -> str:
        return self._named("end")

    @property
    def all(self) -> tuple[str, ...]:
        """The two that deployments read come last: a save that is cut short leaves them as they were."""
        return (self.zone, self.instance_type, self.start, self.end, self.subnet, self.reservation)

    def _named(self, last: str) -> str:
        return f"/capacity-block/{self.region}/{last}"


@dataclass(frozen=True)
class SavedBlock:
    """A reservation, and the subnet in its zone that instances on it start in. Times are aware, in UTC.

    What versions of this tool saved that knew of these two only is empty, or None, in the rest. `replaced` is no part
    of it: after a save, the id of another reservation that was saved before, if there was one.
    """

    region: str
    reservation_id: str
    subnet_id: str
    zone: str = ""
    instance_type: str = ""
    start: datetime | None = None
    end: datetime | None = None
    replaced: str = field(default="", compare=False)

    @property
    def values(self) -> dict[str, str]:
        """Each parameter's value, by its name, in the order of `Names.all`; empty for what was not saved."""
        names = Names(self.region)
        values = {
            names.reservation: self.reservation_id,
            names.subnet: self.subnet_id,
            names.zone: self.zone,
            names.instance_type: self.instance_type,
            names.start: iso(self.start) if self.start else "",
            names.end: iso(self.end) if self.end else "",
        }
        return {name: values[name] for name in names.all}


def save(
    ec2: EC2Client,
    ssm: SSMClient,
    region: str,
    reservation_id: str,
    subnet_id: str = "",
    *,
    project: str,
    vpc_id: str = "",
) -> SavedBlock:
    """Write the block and a subnet to Parameter Store: the given subnet, else one found in its zone.

    Looked for is in the VPC `vpc_id`, else in the default one. Raises NotFoundError when any of them does not exist,
    InputError when the block is of no use any more or the subnet lies in another zone; nothing is written then. An
    AwsError while writing says what became of what was there before.
    """
    block, before = look_up(ec2, ssm, region, reservation_id, subnet_id, vpc_id=vpc_id)
    parameters.write_all(ssm, region, block.values, before, tags.for_project(project))
    return block


def look_up(
    ec2: EC2Client, ssm: SSMClient, region: str, reservation_id: str, subnet_id: str = "", *, vpc_id: str = ""
) -> tuple[SavedBlock, Mapping[str, str]]:
    """What `save` would write, and what is there now, by parameter. Raises as `save`; writes nothing."""
    reservation = reservations.describe(ec2, region, reservation_id)
    _check_usable(reservation)
    zone, user = reservation.zone, reservation.id
    if subnet_id:
        subnets.check(ec2, region, subnet_id, zone=zone, vpc_id=vpc_id, user=user)
    else:
        subnet_id = subnets.find(ec2, region, zone=zone, vpc_id=vpc_id, user=user)
    before = _read(ssm, region)
    saved = before.get(Names(region).reservation, "")
    block = SavedBlock(
        region,
        reservation.id,
        subnet_id,
        reservation.zone,
        reservation.instance_type,
        reservation.start,
        reservation.end,
        replaced="" if saved == reservation.id else saved,
    )
    return block, before


def saved_id(ssm: SSMClient, region: str) -> str:
    """The id of the reservation that is saved for a region, as it is written there; empty when there is none."""
    return _read(ssm, region).get(Names(region).reservation, "")


def update_end(ssm: SSMClient, region: str, reservation_id: str, end: datetime) -> bool:
    """Save a block's new `end` (aware), but only if it is the block that is saved; whether it is.

    A later end that is saved stays: blocks never become shorter.
    """
    names = Names(region)
    saved = _read(ssm, region)
    if saved.get(names.reservation) != reservation_id:
        return False
    if saved.get(names.end, "") < iso(end):
        parameters.write(ssm, names.end, iso(end), tags.MANAGED, exists=names.end in saved)
    return True


def load(ssm: SSMClient, region: str) -> SavedBlock:
    """The block saved for a region: one call.

    Raises NotFoundError when there is none or a half of it, InputError for values that nobody can have saved here.
    """
    names = Names(region)
    values = _read(ssm, region)
    reservation, subnet = values.get(names.reservation), values.get(names.subnet)
    if reservation is None or subnet is None:
        raise _incomplete(names, values)
    return SavedBlock(
        region=region,
        reservation_id=_checked(names.reservation, reservation, lambda text: options.aws_id("it", text, "cr")),
        subnet_id=_checked(names.subnet, subnet, lambda text: options.aws_id("it", text, "subnet")),
        zone=_checked(names.zone, values.get(names.zone, ""), _word),
        instance_type=_checked(names.instance_type, values.get(names.instance_type, ""), _word),
        start=_checked(names.start, values.get(names.start, ""), lambda text: options.moment("it", text)),
        end=_checked(names.end, values.get(names.end, ""), lambda text: options.moment("it", text)),
    )


def as_shell(block: SavedBlock) -> str:
    """The block as text that any POSIX shell can `eval`. A variable for what was not saved is unset."""
    values = block.values
    return "\n".join(
        f"export {variable}={shlex.quote(values[name])}" if values[name] else f"unset {variable}"
        for variable, name in _variables(block.region).items()
    )


def nothing_as_shell(region: str) -> str:
    """Text whose `eval` fails, and leaves no variable of another block behind: for when none could be read."""
    return f"unset {' '.join(_variables(region))}; false"


def _variables(region: str) -> dict[str, str]:
    """The shell variable for each parameter."""
    names = Names(region)
    return {
        "CAPACITY_RESERVATION_ID": names.reservation,
        "CAPACITY_SUBNET_ID": names.subnet,
        "CAPACITY_AVAILABILITY_ZONE": names.zone,
        "CAPACITY_INSTANCE_TYPE": names.instance_type,
        "CAPACITY_START": names.start,
        "CAPACITY_END": names.end,
    }


def as_json(block: SavedBlock) -> str:
    """The block for programs: times ISO 8601 in UTC, null for what was not saved."""
    document = {
        "region": block.region,
        "reservationId": block.reservation_id,
        "subnetId": block.subnet_id,
        "zone": block.zone or None,
        "instanceType": block.instance_type or None,
        "start": iso_or_none(block.start),
        "end": iso_or_none(block.end),
    }
    return json.dumps(document, indent=2)


def _check_usable(reservation: Reservation) -> None:
    """Raise InputError for what nothing can be deployed on, AwsError when EC2 does not say enough about it."""
    if reservation.state in GONE:
        raise InputError(
            f"{reservation.id} is {reservation.state}: nothing can be deployed on it.",
            do="See the others with invoke cb.list.",
        )
    if not reservation.is_block:
        raise InputError(
            f"{reservation.id} is an on-demand reservation, not a Capacity Block.",
            why="What is saved is for invoke deploy --use-capacity-block, which launches on Capacity Blocks only.",
            do="See the blocks with invoke cb.list.",
        )
    if reservation.is_reclaimed:
        raise InputError(
            f"{reservation.id} can no longer be used: {reservation.outlook}.",
            do="See the others with invoke cb.list.",
        )
    if not (reservation.zone and reservation.instance_type and reservation.end):
        raise AwsError(
            f"{reservation.id} cannot be saved: AWS does not say its zone, instance type and end.", do="Try again."
        )


def _incomplete(names: Names, values: Mapping[str, str]) -> NotFoundError:
    missing = [name for name in (names.reservation, names.subnet) if name not in values]
    reservation = values.get(names.reservation)
    named = quoted(reservation) if reservation else "cr-…"
    command = f"invoke cb.save-params --reservation-id {named} -r {names.region}"
    shown = "" if reservation else f" invoke cb.list -r {names.region} shows those you have."
    half = len(missing) == 1
    return NotFoundError(
        f"The Capacity Block saved for {names.region} is incomplete."
        if half
        else f"No Capacity Block is saved for {names.region}.",
        why=f"Parameter Store has no {' and no '.join(missing)}.",
        do=f"{'Save it again' if half else 'Save one'}: {command}.{shown}",
    )


def _read(ssm: SSMClient, region: str) -> dict[str, str]:
    return parameters.read(ssm, Names(region).all, f"read the block saved for {region}")


def _checked(name: str, value: str, check: Callable[[str], T]) -> T:
    """What `check` makes of a parameter's value. Anybody may write there, and it ends up in shells and commands."""
    try:
        return check(value)
    except InputError as error:
        raise InputError(
            f"{name} in Parameter Store holds {value!r}: invoke cb.save-params cannot have written that.",
            do="Save the block again: invoke cb.save-params --reservation-id cr-…",
        ) from error


def _word(text: str) -> str:
    """A zone or an instance type: `us-west-2-lax-1a`, `u-p6e-gb200x36`, `trn2.3xlarge`."""
    if text and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", text, re.ASCII):
        raise InputError(f"{text!r} is no name of AWS's.")
    return text
