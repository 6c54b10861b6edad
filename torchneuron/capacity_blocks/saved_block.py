"""The Capacity Block to deploy on, saved in Parameter Store for Terraform and for people.

Six parameters per region. A deployment needs the reservation and the subnet, and only both together; the other four
describe the block without a call to EC2.
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
from torchneuron.core import display, options, tags
from torchneuron.core.errors import AwsError, InputError, NotFoundError, UnreachableError
from torchneuron.core.text import command, iso, iso_or_none, quoted

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ssm import SSMClient

T = TypeVar("T")


@dataclass(frozen=True)
class Names:
    """The names of one region's parameters."""

    region: str

    @property
    def reservation(self) -> str:
        return self._name("reservation-id")

    @property
    def subnet(self) -> str:
        return self._name("subnet-id")

    @property
    def zone(self) -> str:
        return self._name("availability-zone")

    @property
    def instance_type(self) -> str:
        return self._name("instance-type")

    @property
    def start(self) -> str:
        return self._name("start")

    @property
    def end(self) -> str:
        return self._name("end")

    @property
    def all(self) -> tuple[str, ...]:
        """In the order in which they are written.

        SSM writes one parameter at a time, so a save can stop part-way, and then no reader may launch on a wrong block.
        The zone comes last: until it is written, a subnet in another zone does not match it, and Terraform's
        precondition (`stacks.placement`) refuses the plan. Within one zone, the reservation id alone decides: launches
        use the earlier block until it is written, and the new one from then on. `invoke deploy` also checks the zone
        and the type that EC2 reports.
        """
        return (self.subnet, self.reservation, self.instance_type, self.start, self.end, self.zone)

    def _name(self, last: str) -> str:
        return f"/capacity-block/{self.region}/{last}"


@dataclass(frozen=True)
class SavedBlock:
    """A reservation, and the subnet in its zone that instances on it start in. Times are aware, in UTC.

    Earlier versions saved only these two; the rest is then empty or None. `replaced` is set by a save: the id of the
    other reservation that was saved before, if any.
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
        """Each parameter's value by its name; empty for what was not saved."""
        names = Names(self.region)
        return {
            names.reservation: self.reservation_id,
            names.subnet: self.subnet_id,
            names.zone: self.zone,
            names.instance_type: self.instance_type,
            names.start: iso(self.start) if self.start else "",
            names.end: iso(self.end) if self.end else "",
        }


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
    """Write the block and a subnet to Parameter Store: the given subnet, else one found in the block's zone.

    A subnet is looked for in `vpc_id`, else in the default VPC. Before anything is written, raises NotFoundError when
    one of them does not exist, InputError when the block is no longer usable or the subnet is in another zone. Raises
    AwsError when a write fails; the message says whether anything was saved.
    """
    block, before = look_up(ec2, ssm, region, reservation_id, subnet_id, vpc_id=vpc_id)
    _write(ssm, block, before, tags.for_project(project))
    return block


def look_up(
    ec2: EC2Client, ssm: SSMClient, region: str, reservation_id: str, subnet_id: str = "", *, vpc_id: str = ""
) -> tuple[SavedBlock, Mapping[str, str]]:
    """What `save` would write, and the values that are saved now by parameter. Raises as `save`; writes nothing."""
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
    """The unchecked id of the reservation that is saved for a region; empty when there is none."""
    return _read(ssm, region).get(Names(region).reservation, "")


def update_end(ssm: SSMClient, region: str, reservation_id: str, end: datetime) -> bool:
    """Save a block's new `end` (aware) if that block is the saved one. Returns whether it is.

    A later saved end stays: blocks never become shorter.
    """
    names = Names(region)
    saved = _read(ssm, region)
    if saved.get(names.reservation) != reservation_id:
        return False
    if saved.get(names.end, "") < iso(end):
        parameters.write(ssm, names.end, iso(end), tags.MANAGED, exists=names.end in saved)
    return True


def load(ssm: SSMClient, region: str) -> SavedBlock:
    """The block saved for a region, in one call.

    Raises NotFoundError when none is saved or it is incomplete, InputError for values that `save` cannot have written.
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
        zone=_checked(names.zone, values.get(names.zone, ""), _aws_name),
        instance_type=_checked(names.instance_type, values.get(names.instance_type, ""), _aws_name),
        start=_checked(names.start, values.get(names.start, ""), lambda text: options.moment("it", text)),
        end=_checked(names.end, values.get(names.end, ""), lambda text: options.moment("it", text)),
    )


def as_shell(block: SavedBlock) -> str:
    """The block as text that any POSIX shell can `eval`. Variables for values that were not saved are unset."""
    values = block.values
    return "\n".join(
        f"export {variable}={shlex.quote(values[name])}" if values[name] else f"unset {variable}"
        for variable, name in _variables(block.region).items()
    )


def failure_as_shell(region: str) -> str:
    """Text whose `eval` fails and unsets the variables of any other block."""
    return f"unset {' '.join(_variables(region))}; false"


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


def _variables(region: str) -> dict[str, str]:
    """The parameter's name by shell variable."""
    names = Names(region)
    return {
        "CAPACITY_RESERVATION_ID": names.reservation,
        "CAPACITY_SUBNET_ID": names.subnet,
        "CAPACITY_AVAILABILITY_ZONE": names.zone,
        "CAPACITY_INSTANCE_TYPE": names.instance_type,
        "CAPACITY_START": names.start,
        "CAPACITY_END": names.end,
    }


def _write(ssm: SSMClient, block: SavedBlock, before: Mapping[str, str], new_tags: Mapping[str, str]) -> None:
    """Write the values that differ from `before`, in the order of `Names.all`."""
    values, may_have_written = block.values, False
    arguments = ("--reservation-id", block.reservation_id, "--subnet-id", block.subnet_id, "-r", block.region)
    again = command("invoke cb.save-params", *arguments)
    for name in Names(block.region).all:
        if before.get(name) == values[name]:
            continue
        try:
            parameters.write(ssm, name, values[name], new_tags, exists=name in before)
        except AwsError as error:
            if not may_have_written and not isinstance(error, UnreachableError):
                raise type(error)(
                    f"Nothing was saved. {error.what}", code=error.code, why=error.why, do=error.do
                ) from error
            raise AwsError(
                "Saving the block failed part-way.",
                code=error.code,
                why=f"{error.what} {error.why}".strip(),
                do=f"{error.do}\nThen save it again: {again}".strip(),
            ) from error
        except KeyboardInterrupt:
            display.note(f"Saving the block was interrupted part-way. Save it again: {again}")
            raise
        may_have_written = True


def _check_usable(reservation: Reservation) -> None:
    """Raise InputError for a reservation that cannot be deployed on, AwsError when EC2 does not describe it fully."""
    if reservation.state in GONE:
        raise InputError(
            f"{reservation.id} is {reservation.state}: nothing can be deployed on it.",
            do="List the others with invoke cb.list.",
        )
    if not reservation.is_block:
        raise InputError(
            f"{reservation.id} is an on-demand reservation, not a Capacity Block.",
            why="invoke deploy --use-capacity-block, which uses what is saved, launches on Capacity Blocks only.",
            do="List the blocks with invoke cb.list.",
        )
    if reservation.is_reclaimed:
        raise InputError(
            f"{reservation.id} can no longer be used: {reservation.outlook}.",
            do="List the others with invoke cb.list.",
        )
    if not (reservation.zone and reservation.instance_type and reservation.end):
        raise AwsError(
            f"{reservation.id} cannot be saved: AWS does not report its zone, instance type and end.", do="Try again."
        )


def _incomplete(names: Names, values: Mapping[str, str]) -> NotFoundError:
    missing = [name for name in (names.reservation, names.subnet) if name not in values]
    reservation = values.get(names.reservation)
    named = quoted(reservation) if reservation else "cr-…"
    save_command = f"invoke cb.save-params --reservation-id {named} -r {names.region}"
    hint = "" if reservation else f" To list your blocks: invoke cb.list -r {names.region}"
    is_partial = len(missing) == 1
    return NotFoundError(
        f"The Capacity Block saved for {names.region} is incomplete."
        if is_partial
        else f"No Capacity Block is saved for {names.region}.",
        why=f"Parameter Store has no {' and no '.join(missing)}.",
        do=f"{'Save it again' if is_partial else 'Save one'}: {save_command}.{hint}",
    )


def _read(ssm: SSMClient, region: str) -> dict[str, str]:
    return parameters.read(ssm, Names(region).all, f"read the block saved for {region}")


def _checked(name: str, value: str, check: Callable[[str], T]) -> T:
    """What `check` returns for a parameter's value. Others can write there, and it is used in shells and commands."""
    try:
        return check(value)
    except InputError as error:
        raise InputError(
            f"{name} in Parameter Store has the invalid value {value!r}.",
            why="invoke cb.save-params cannot have written it.",
            do="Save the block again: invoke cb.save-params --reservation-id cr-…",
        ) from error


def _aws_name(text: str) -> str:
    """`text` if it may be a zone or an instance type: `us-west-2-lax-1a`, `u-p6e-gb200x36`, `trn2.3xlarge`."""
    if text and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", text, re.ASCII):
        raise InputError(f"{text!r} is not a valid AWS name.")
    return text
