"""The subnet that instances on a Capacity Block start in: a block can only be used from its own zone."""

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

# A subnet of AWS's default VPCs is a /20; EC2 makes none smaller than /28 (EC2 API reference, CreateSubnet).
_NEW_SUBNETS = (20, 24, 28)


def zone_of(ec2: EC2Client, region: str, subnet_id: str, *, do: str) -> str:
    """The subnet's availability zone. Raises NotFoundError, with `do` as the way out, when there is no such subnet."""
    return _look_up(ec2, region, subnet_id, do=do).zone


def check(ec2: EC2Client, region: str, subnet_id: str, *, zone: str, vpc_id: str = "", user: str) -> None:
    """Refuse a subnet that is not in `zone`, where `user` is, or not in the VPC if one is named.

    Warns of one without a way out. Raises InputError, and NotFoundError when there is no such subnet.
    """
    subnet = _look_up(ec2, region, subnet_id, do="Leave --subnet-id out to have one found.")
    actual = subnet.zone
    if actual != zone:
        raise InputError(
            f"{subnet_id} is in {actual}, and {user} is in {zone}.",
            why="An instance can only start on a Capacity Block from a subnet in the block's zone.",
            do=f"Name a subnet in {zone}, or leave --subnet-id out to have one found.",
        )
    if vpc_id and subnet.vpc_id != vpc_id:
        raise InputError(
            f"{subnet_id} is in {subnet.vpc_id}, not in {vpc_id}.", do="Leave --subnet-id or --vpc-id out."
        )
    _say_no_way_out(_no_way_out(ec2, region, subnet), subnet_id, is_named=True)


def check_way_out(ec2: EC2Client, region: str, subnet_id: str, *, is_named: bool) -> None:
    """Raise InputError for a subnet where Systems Manager will not reach a machine; warn where a person named it."""
    subnet = _look_up(ec2, region, subnet_id, do="Name another with --subnet-id.")
    _say_no_way_out(_no_way_out(ec2, region, subnet), subnet_id, is_named=is_named)


def _say_no_way_out(shut_in: Diagnosis | None, subnet_id: str, *, is_named: bool) -> None:
    if shut_in is None:
        return
    what = f"Systems Manager will not reach a machine in {subnet_id}."
    if is_named:
        display.warn(f"{what} {shut_in.why}")
        return
    anyway = f"If it has a way out all the same: --subnet-id {quoted(subnet_id)}"
    raise InputError(what, why=shut_in.why, do="\n".join([*shut_in.do, anyway]))


def find(ec2: EC2Client, region: str, *, zone: str, vpc_id: str = "", user: str) -> str:
    """A subnet in `zone`, where `user` is, of this VPC, else of the default one.

    Of several with a way out the one with most free addresses, then the lowest id. Raises NotFoundError, with the
    command that makes what is missing.
    """
    doing = f"find a subnet in {zone}"
    vpc = _named_vpc(ec2, region, vpc_id) if vpc_id else _default_vpc(ec2, region, doing)
    in_vpc = {"vpc-id": [vpc["VpcId"]]}
    found = find_subnets(ec2, {**in_vpc, "availability-zone": [zone], "state": ["available"]})
    shut_in = None
    for subnet in sorted(found, key=lambda subnet: (-subnet.free_addresses, subnet.subnet_id)):
        problem = _no_way_out(ec2, region, subnet)
        if problem is None:
            return subnet.subnet_id
        shut_in = shut_in or problem
    name = vpc_id or f"The default VPC ({vpc['VpcId']})"
    if shut_in:
        raise NotFoundError(
            f"{name} has no subnet with a way out in {zone}, where {user} is.",
            why=f"Systems Manager would not reach a machine there. {shut_in.why}",
            do="\n".join(["Name a subnet with --subnet-id, another VPC with --vpc-id, or fix it:", *shut_in.do]),
        )
    if vpc_id:
        command = _create(vpc, find_subnets(ec2, in_vpc), zone, region)
    else:
        command = f"aws ec2 create-default-subnet --availability-zone {quoted(zone)} --region {region}"
    raise NotFoundError(
        f"{name} has no subnet in {zone}, where {user} is.",
        do=f"Name a subnet with --subnet-id, another VPC with --vpc-id, or make one: {command}",
    )


def _no_way_out(ec2: EC2Client, region: str, subnet: Subnet) -> Diagnosis | None:
    """What keeps a machine in the subnet from Systems Manager; None also where that may not be looked at."""
    try:
        return routes.no_way_out(ec2, region, subnet)
    except AwsError as error:
        if not is_denied(error):
            raise
        display.warn(f"whether {subnet.subnet_id} has a way out cannot be seen. {error.what}")
        return None


def _default_vpc(ec2: EC2Client, region: str, doing: str) -> VpcTypeDef:
    with calling(doing):
        vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not vpcs:
        raise NotFoundError(
            f"{region} has no default VPC to take a subnet from.",
            do="Name a VPC with --vpc-id, a subnet with --subnet-id, or make a default VPC:"
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
            f"There is no VPC {vpc_id} in {region}.",
            why=error.why,
            do="Leave --vpc-id out to use the default VPC.",
        ) from error


def _look_up(ec2: EC2Client, region: str, subnet_id: str, *, do: str) -> Subnet:
    try:
        return get_subnet(ec2, subnet_id)
    except AwsError as error:
        # EC2 spells it InvalidSubnetID.NotFound and InvalidSubnetId.Malformed.
        if not error.code.lower().startswith("invalidsubnetid"):
            raise
        raise NotFoundError(f"There is no subnet {subnet_id} in {region}.", why=error.why, do=do) from error


def _create(vpc: VpcTypeDef, others: Sequence[Subnet], zone: str, region: str) -> str:
    """The command that makes a subnet of the VPC in the zone, with addresses that no other one has."""
    cidr = _free_addresses(_networks(vpc), [IPv4Network(subnet.cidr_block) for subnet in others if subnet.cidr_block])
    return (
        f"aws ec2 create-subnet --vpc-id {quoted(vpc['VpcId'])} --availability-zone {quoted(zone)}"
        f" --cidr-block {quoted(cidr or 'CIDR')} --region {region}"
        + ("" if cidr else " (its addresses are all taken: associate another CIDR block with the VPC first)")
    )


def _networks(vpc: VpcTypeDef) -> list[IPv4Network]:
    """The VPC's own addresses, the first block and those associated later."""
    associated = [one["CidrBlock"] for one in vpc.get("CidrBlockAssociationSet", []) if one.get("CidrBlock")]
    return [IPv4Network(cidr) for cidr in dict.fromkeys([vpc["CidrBlock"], *associated])]


def _free_addresses(networks: Iterable[IPv4Network], taken: Sequence[IPv4Network]) -> str:
    """The first block of addresses that is free, the largest size a new subnet has; empty when there is none."""
    all_of_it = list(networks)
    for size in _NEW_SUBNETS:
        for network in all_of_it:
            # EC2 makes no VPC larger than a /16: at most 4096 to look at.
            for part in network.subnets(new_prefix=max(size, network.prefixlen)):
                if not any(part.overlaps(other) for other in taken):
                    return str(part)
    return ""
