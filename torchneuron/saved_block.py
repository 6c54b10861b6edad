"""The block to deploy on, kept in Parameter Store: both Terraform and people read it from there.

Two parameters a region, and only together do they mean anything, so both are written or neither is.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchneuron import subnets
from torchneuron.aws import calling
from torchneuron.capacity_blocks import reservations
from torchneuron.capacity_blocks.reservations import GONE, Reservation
from torchneuron.errors import AwsError, InputError, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import SubnetTypeDef
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import TagTypeDef


@dataclass(frozen=True)
class Names:
    """The parameters of one region."""

    region: str

    @property
    def reservation(self) -> str:
        return f"/capacity-block/{self.region}/reservation-id"

    @property
    def subnet(self) -> str:
        return f"/capacity-block/{self.region}/subnet-id"


@dataclass(frozen=True)
class SavedBlock:
    """A reservation, and the subnet in its zone that instances on it start in."""

    region: str
    reservation_id: str
    subnet_id: str


def save(
    ec2: EC2Client, ssm: SSMClient, region: str, reservation_id: str, subnet_id: str = "", *, project: str
) -> SavedBlock:
    """Write the reservation and a subnet to Parameter Store: the given subnet, else one found in its zone.

    Raises NotFoundError when either does not exist, InputError when the reservation is of no use any more or
    the subnet lies in another zone; nothing is written then.
    """
    reservation = reservations.describe(ec2, region, reservation_id)
    if reservation.state in GONE:
        raise InputError(
            f"{reservation_id} is {reservation.state}: nothing can be deployed on it.",
            do="See the others with invoke cb.list.",
        )
    subnet = _given_subnet(ec2, reservation, subnet_id) if subnet_id else _find_subnet(ec2, reservation)
    block = SavedBlock(region, reservation_id, subnet)
    _write_both(ssm, block, project)
    return block


def load(ssm: SSMClient, region: str) -> SavedBlock:
    """The block saved for a region. Raises NotFoundError when there is none."""
    names = Names(region)
    values = _read(ssm, names)
    missing = [name for name in (names.reservation, names.subnet) if name not in values]
    if missing:
        raise NotFoundError(
            f"No Capacity Block is saved for {region}.",
            why=f"Parameter Store has no {' and no '.join(missing)}.",
            do=f"Save one: invoke cb.save-params --reservation-id cr-… -r {region}."
            " invoke cb.list shows those you have.",
        )
    return SavedBlock(region, values[names.reservation], values[names.subnet])


def as_shell(block: SavedBlock) -> str:
    """The block as text that any POSIX shell can `eval`."""
    variables = {"CAPACITY_RESERVATION_ID": block.reservation_id, "CAPACITY_SUBNET_ID": block.subnet_id}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def _given_subnet(ec2: EC2Client, reservation: Reservation, subnet_id: str) -> str:
    way_out = "Leave --subnet-id out to have one found."
    zone = subnets.zone_of(ec2, reservation.region, subnet_id, do=way_out)
    if zone != reservation.zone:
        raise InputError(
            f"{subnet_id} is in {zone}, and {reservation.id} is in {reservation.zone}.",
            why="An instance can only start on a Capacity Block from a subnet in the block's zone.",
            do=f"Name a subnet in {reservation.zone}, or leave --subnet-id out to have one found.",
        )
    return subnet_id


def _find_subnet(ec2: EC2Client, reservation: Reservation) -> str:
    """The default VPC's subnet in the reservation's zone; of several, the one with most free addresses."""
    region, zone = reservation.region, reservation.zone
    with calling(f"find a subnet in {zone}"):
        vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not vpcs:
        raise NotFoundError(
            f"{region} has no default VPC to take a subnet from.",
            do=f"Name a subnet in {zone} with --subnet-id, or make the VPC:"
            f" aws ec2 create-default-vpc --region {region}",
        )
    vpc = vpcs[0]["VpcId"]
    with calling(f"find a subnet in {zone}"):
        filters = {"vpc-id": vpc, "availability-zone": zone, "state": "available"}
        pages = ec2.get_paginator("describe_subnets").paginate(
            Filters=[{"Name": name, "Values": [value]} for name, value in filters.items()]
        )
        subnets = [subnet for page in pages for subnet in page["Subnets"]]
    if not subnets:
        raise NotFoundError(
            f"The default VPC ({vpc}) has no subnet in {zone}, where {reservation.id} is.",
            do="Name one with --subnet-id, or make it:"
            f" aws ec2 create-default-subnet --availability-zone {zone} --region {region}",
        )
    return max(subnets, key=_preference)["SubnetId"]


def _preference(subnet: SubnetTypeDef) -> tuple[int, str]:
    return (subnet["AvailableIpAddressCount"], subnet["SubnetId"])


def _write_both(ssm: SSMClient, block: SavedBlock, project: str) -> None:
    """Put both parameters, or put the first back when the second fails."""
    names = Names(block.region)
    before = _read(ssm, names)
    _put(ssm, names.reservation, block.reservation_id, project, exists=names.reservation in before)
    try:
        _put(ssm, names.subnet, block.subnet_id, project, exists=names.subnet in before)
    except BaseException:
        _put_back(ssm, names.reservation, before.get(names.reservation))
        raise


def _put(ssm: SSMClient, name: str, value: str, project: str, *, exists: bool) -> None:
    tags: list[TagTypeDef] = [
        {"Key": "Project", "Value": project},
        {"Key": "ManagedBy", "Value": "torchneuron"},
    ]
    with calling(f"write {name}"):
        if exists:  # tags can only be given to a parameter while it is made
            ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
        else:
            ssm.put_parameter(Name=name, Value=value, Type="String", Tags=tags)


def _put_back(ssm: SSMClient, name: str, value: str | None) -> None:
    try:
        with calling(f"put {name} back"):
            if value is None:
                ssm.delete_parameter(Name=name)
            else:
                ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
    except AwsError as error:
        raise AwsError(
            f"Only one of the two parameters was written, and {name} could not be put back.",
            code=error.code,
            why=error.why,
            do="Run invoke cb.save-params again: it writes both.",
        ) from error


def _read(ssm: SSMClient, names: Names) -> dict[str, str]:
    with calling(f"read the block saved for {names.region}"):
        answer = ssm.get_parameters(Names=[names.reservation, names.subnet])
    return {parameter["Name"]: parameter["Value"] for parameter in answer["Parameters"]}
