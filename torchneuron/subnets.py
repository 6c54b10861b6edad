"""Which zone a subnet is in: a Capacity Block can only be used from its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchneuron.aws import calling
from torchneuron.errors import AwsError, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def zone_of(ec2: EC2Client, region: str, subnet_id: str, *, do: str) -> str:
    """The subnet's availability zone. Raises NotFoundError, with `do` as the way out, when there is no such subnet."""
    try:
        with calling(f"look up {subnet_id}"):
            found = ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
    except AwsError as error:
        # EC2 spells it InvalidSubnetID.NotFound and InvalidSubnetId.Malformed.
        if not error.code.lower().startswith("invalidsubnetid"):
            raise
        raise NotFoundError(f"There is no subnet {subnet_id} in {region}.", why=error.why, do=do) from error
    return found[0]["AvailabilityZone"]
