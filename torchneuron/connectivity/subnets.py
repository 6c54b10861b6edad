"""The subnet that instances on a Capacity Block launch in: it must be in the block's zone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from torchneuron.aws.ec2 import Subnet, find_subnets, get_subnet
from torchneuron.aws.errors import calling, is_denied
from torchneuron.connectivity import routes
from torchneuron.connectivity.diagnosis import Diagnosis
from torchneuron.core import display
from torchneuron.core.errors import AwsError, InputError, NotFoundError
from torchneuron.core.text import quoted

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import VpcTypeDef

# Prefix lengths. AWS's default subnets are /20; the smallest that EC2 allows is /28 (EC2 API reference, CreateSubnet).
_NEW_SUBNETS = (20, 24, 28)


def zone_of(ec2: EC2Client, region: str, subnet_id: str, *, do: str) -> str:
    """The subnet's availability zone. Raises NotFoundError, with `do` as its remedy, for an unknown subnet."""
    return _get(ec2, region, subnet_id, do=do).zone


def check(ec2: EC2Client, region: str, subnet_id: str, *, zone: str, vpc_id: str = "", user: str) -> None:
    """Raise InputError for a subnet that is not in `zone`, where `user` is, or not in the VPC, if one is named.

    Warns if it does not reach Systems Manager. Raises NotFoundError for an unknown subnet.
    """
    subnet = _get(ec2, region, subnet_id, do="To have one found, omit --subnet-id.")
    if subnet.zone != zone:
        raise InputError(
            f"{subnet_id} is in {subnet.zone}, and {user} is in {zone}.",
            why="An instance can only start on a Capacity Block from a subnet in the block's zone.",
            do=f"Name a subnet in {zone}, or omit --subnet-id to have one found.",
        )
    if vpc_id and subnet.vpc_id != vpc_id:
        raise InputError(f"{subnet_id} is in {subnet.vpc_id}, not in {vpc_id}.", do="Omit --subnet-id or --vpc-id.")
    _report(_diagnose(ec2, region, subnet), subnet_id, is_named=True)


def check_reachable(ec2: EC2Client, region: str, subnet_id: str, *, is_named: bool) -> None:
    """Raise InputError if Systems Manager will not reach instances in the subnet; only warn if the user named it."""
    subnet = _get(ec2, region, subnet_id, do="Name another with --subnet-id.")
    _report(_diagnose(ec2, region, subnet), subnet_id, is_named=is_named)


def find(ec2: EC2Client, region: str, *, zone: str, vpc_id: str = "", user: str) -> str:
    """A subnet in `zone`, where `user` is, that reaches Systems Manager; of the default VPC unless one is named.

    Of several, the one with most free addresses, then the lowest id. Raises NotFoundError with the command that
    creates what is missing.
    """
    vpc = _named_vpc(ec2, region, vpc_id) if vpc_id else _default_vpc(ec2, region)
    in_vpc = {"vpc-id": [vpc["VpcId"]]}
    found = find_subnets(ec2, {**in_vpc, "availability-zone": [zone], "state": ["available"]})
    unreachable = None
    for subnet in sorted(found, key=lambda subnet: (-subnet.free_addresses, subnet.subnet_id)):
        diagnosis = _diagnose(ec2, region, subnet)
        if diagnosis is None:
            return subnet.subnet_id
        unreachable = unreachable or diagnosis
    name = vpc_id or f"The default VPC ({vpc['VpcId']})"
    if unreachable:
        raise NotFoundError(
            f"{name} has no subnet in {zone} that reaches Systems Manager.",
            why=f"{user} is in {zone}. {unreachable.why}",
            do="\n".join(["Name a subnet with --subnet-id, another VPC with --vpc-id, or fix it:", *unreachable.do]),
        )
    if vpc_id:
        command = _create_command(vpc, find_subnets(ec2, in_vpc), zone, region)
    else:
        command = f"aws ec2 create-default-subnet --availability-zone {quoted(zone)} --region {region}"
    raise NotFoundError(
        f"{name} has no subnet in {zone}, where {user} is.",
        do=f"Name a subnet with --subnet-id, another VPC with --vpc-id, or create one: {command}",
    )


def _diagnose(ec2: EC2Client, region: str, subnet: Subnet) -> Diagnosis | None:
    """Why instances in the subnet do not reach Systems Manager; None if they do, or if it cannot be looked up."""
    try:
        return routes.diagnose_subnet(ec2, region, subnet)
    except AwsError as error:
        if not is_denied(error):
            raise
        display.warn(f"the routes of {subnet.subnet_id} cannot be checked. {error.what}")
        return None


def _report(diagnosis: Diagnosis | None, subnet_id: str, *, is_named: bool) -> None:
    if diagnosis is None:
        return
    what = f"Systems Manager will not reach instances in {subnet_id}."
    if is_named:
        display.warn(f"{what} {diagnosis.why}")
        return
    anyway = f"To use it anyway: --subnet-id {quoted(subnet_id)}"
    raise InputError(what, why=diagnosis.why, do="\n".join([*diagnosis.do, anyway]))


def _default_vpc(ec2: EC2Client, region: str) -> VpcTypeDef:
    with calling("look up the default VPC"):
        vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not vpcs:
        raise NotFoundError(
            f"{region} has no default VPC.",
            do="Name a VPC with --vpc-id, a subnet with --subnet-id, or create a default VPC:"
            f" aws ec2 create-default-vpc --region {region}",
        )
    return vpcs[0]


def _named_vpc(ec2: EC2Client, region: str, vpc_id: str) -> VpcTypeDef:
    try:
        with calling(f"look up {vpc_id}"):
            return ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"][0]
    except AwsError as error:
        if not error.code.lower().startswith("invalidvpcid"):
            raise
        raise NotFoundError(
            f"There is no VPC {vpc_id} in {region}.", why=error.why, do="To use the default VPC, omit --vpc-id."
        ) from error


def _get(ec2: EC2Client, region: str, subnet_id: str, *, do: str) -> Subnet:
    try:
        return get_subnet(ec2, subnet_id)
    except AwsError as error:
        # EC2 spells it InvalidSubnetID.NotFound and InvalidSubnetId.Malformed.
        if not error.code.lower().startswith("invalidsubnetid"):
            raise
        raise NotFoundError(f"There is no subnet {subnet_id} in {region}.", why=error.why, do=do) from error


def _create_command(vpc: VpcTypeDef, subnets: Sequence[Subnet], zone: str, region: str) -> str:
    """The command that creates a subnet of the VPC in the zone, besides its other `subnets`."""
    cidr = _free_cidr(_cidr_blocks(vpc), [IPv4Network(subnet.cidr_block) for subnet in subnets if subnet.cidr_block])
    return (
        f"aws ec2 create-subnet --vpc-id {quoted(vpc['VpcId'])} --availability-zone {quoted(zone)}"
        f" --cidr-block {quoted(cidr or 'CIDR')} --region {region}"
        + ("" if cidr else " (the VPC has no free addresses: first associate another CIDR block with it)")
    )


def _cidr_blocks(vpc: VpcTypeDef) -> list[IPv4Network]:
    """The VPC's CIDR blocks, the primary one first."""
    associations = vpc.get("CidrBlockAssociationSet", [])
    secondary = [association["CidrBlock"] for association in associations if association.get("CidrBlock")]
    return [IPv4Network(cidr) for cidr in dict.fromkeys([vpc["CidrBlock"], *secondary])]


def _free_cidr(networks: Iterable[IPv4Network], taken: Sequence[IPv4Network]) -> str:
    """The first free CIDR block of the largest size in `_NEW_SUBNETS`; empty if there is none."""
    candidates = list(networks)
    for size in _NEW_SUBNETS:
        for network in candidates:
            # A VPC is a /16 at most: at most 4096 blocks to try.
            for block in network.subnets(new_prefix=max(size, network.prefixlen)):
                if not any(block.overlaps(other) for other in taken):
                    return str(block)
    return ""
