"""What can be known to fail before Terraform tries it, for minutes or for money."""

from __future__ import annotations

from torchneuron import saved_block, subnets
from torchneuron.aws import Aws
from torchneuron.capacity_blocks import reservations
from torchneuron.config import Deployment
from torchneuron.errors import InputError, NotFoundError


def check_block(aws: Aws, deployment: Deployment) -> None:
    """Refuse a block that is not active, is for another instance type, or is not in the subnet's zone.

    EC2 has no capacity for such a launch, and the provider would try it for up to 50 paid minutes
    (hashicorp/terraform-provider-aws 43193, 49863: InsufficientInstanceCapacity is retried).
    Whether the block has an instance left is not looked at. Raises InputError and NotFoundError.
    """
    reservation_id, subnet_id = _place_on_block(aws, deployment)
    block = reservations.describe(aws.ec2(), aws.region, reservation_id)
    if block.state != "active":
        raise InputError(
            f"The Capacity Block {block.id} is {block.state}, not active.",
            why=f"{block.outlook}.",
            do="AWS refuses a launch on it at any other time.",
        )
    if block.instance_type != deployment.instance_type:
        raise InputError(
            f"The Capacity Block {block.id} is for {block.instance_type}, not {deployment.instance_type}.",
            do=f"Add -t {block.instance_type}, or name another block.",
        )
    way_out = "Name another with --subnet-id, or save the block again: invoke cb.save-params."
    zone = subnets.zone_of(aws.ec2(), aws.region, subnet_id, do=way_out)
    if zone != block.zone:
        raise InputError(
            f"The subnet {subnet_id} is in {zone}, and the Capacity Block {block.id} is in {block.zone}.",
            why="An instance can only start on a Capacity Block from a subnet in the block's zone.",
            do=f"Name a subnet in {block.zone} with --subnet-id, or have one saved with the block: "
            f"invoke cb.save-params --reservation-id {block.id} -r {aws.region}",
        )


def _place_on_block(aws: Aws, deployment: Deployment) -> tuple[str, str]:
    """The reservation and the subnet that the plan will use: those named, else those saved."""
    named, subnet_id = deployment.capacity_reservation_id, deployment.subnet_id
    if named is None:
        saved = saved_block.load(aws.ssm(), aws.region)
        return saved.reservation_id, subnet_id or saved.subnet_id
    if subnet_id is not None:
        return named, subnet_id
    try:
        saved = saved_block.load(aws.ssm(), aws.region)
        why = f"Parameter Store has one for {saved.reservation_id}, which may be in another zone."
    except NotFoundError as error:
        raise _no_subnet(named, aws.region, why=error.why) from error
    if saved.reservation_id != named:
        raise _no_subnet(named, aws.region, why=why)
    return named, saved.subnet_id


def _no_subnet(reservation_id: str, region: str, *, why: str) -> InputError:
    return InputError(
        f"No subnet is known for {reservation_id}.",
        why=why,
        do=f"Add --subnet-id, or save the block: invoke cb.save-params --reservation-id {reservation_id} -r {region}",
    )
