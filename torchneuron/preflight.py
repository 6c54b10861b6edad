"""What can be known to fail before Terraform tries it, for minutes or for money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchneuron import quotas, saved_block, subnets
from torchneuron.aws import Aws
from torchneuron.aws_errors import calling
from torchneuron.capacity_blocks import reservations
from torchneuron.capacity_blocks.countdown import in_words
from torchneuron.capacity_blocks.reservations import GONE, Reservation
from torchneuron.capacity_blocks.words import either
from torchneuron.config import Config, Deployment
from torchneuron.deployed import Machine
from torchneuron.errors import InputError, NotFoundError
from torchneuron.text import command, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def check_place(aws: Aws, deployment: Deployment, *, launching: int) -> None:
    """Refuse a place that cannot have `launching` more machines of the deployment's type.

    EC2 has no capacity for such a launch, and the provider would try it for up to 50 paid minutes
    (hashicorp/terraform-provider-aws 43193, 49863: InsufficientInstanceCapacity is retried).
    Raises InputError and NotFoundError.
    """
    if deployment.use_capacity_block:
        _check_block(aws, deployment, launching)
        return
    zones = _zones_with(aws, deployment.instance_type)
    if deployment.subnet_id:
        zone = subnets.zone_of(aws.ec2(), aws.region, deployment.subnet_id, do="Name another with --subnet-id.")
        if zone not in zones:
            raise InputError(
                f"{deployment.instance_type} is not offered in {zone}, where the subnet {deployment.subnet_id} is.",
                do=f"Name a subnet in {either(zones)} with --subnet-id.",
            )
    quotas.check(aws, deployment.instance_type, launching)


def is_over(aws: Aws, reservation_id: str) -> bool:
    """Whether a block that was used before can be used no more: then another one may take its place."""
    try:
        block = reservations.describe(aws.ec2(), aws.region, reservation_id)
    except NotFoundError:
        return True
    return block.is_over


def needs_subnet(config: Config, choices: Mapping[str, Any]) -> bool:
    """Whether a data volume is asked for, and nothing says in which zone."""
    size = choices.get("dataVolumeSize", config.data_volume_size)
    return bool(size) and not (choices.get("subnetId") or choices.get("useCapacityBlock"))


def find_subnet(aws: Aws, instance_type: str, running: Sequence[Machine], zone: str = "") -> str:
    """The subnet where the machines `running` are; else one of the default VPC, in `zone` where one is named, else in a
    zone that offers the type.

    Raises InputError and NotFoundError.
    """
    if subnet_id := next((machine.subnet_id for machine in running if machine.subnet_id), ""):
        return subnet_id
    if zone:
        return subnets.find(aws.ec2(), aws.region, zone=zone, user="the data volume")
    problems: list[NotFoundError] = []
    for zone in _zones_with(aws, instance_type):
        try:
            return subnets.find(aws.ec2(), aws.region, zone=zone, user=instance_type)
        except NotFoundError as error:
            problems.append(error)
    raise problems[0]


def _zones_with(aws: Aws, instance_type: str) -> Sequence[str]:
    """The region's zones that offer the type. Raises InputError when none does."""
    with calling(f"see where {instance_type} is offered"):
        pages = (
            aws.ec2()
            .get_paginator("describe_instance_type_offerings")
            .paginate(LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [instance_type]}])
        )
        zones = sorted(offer["Location"] for page in pages for offer in page["InstanceTypeOfferings"])
    if not zones:
        raise InputError(
            f"AWS does not offer {instance_type} in {aws.region}.",
            do="Name another type (-t) or region (-r): aws ec2 describe-instance-type-offerings lists them.",
        )
    return zones


def _check_block(aws: Aws, deployment: Deployment, launching: int) -> None:
    """Refuse a block that is not active, is for another type, is not in the subnet's zone, or is full."""
    reservation_id, subnet_id = _place_on_block(aws, deployment)
    block = reservations.describe(aws.ec2(), aws.region, reservation_id)
    if not block.is_block:
        raise InputError(
            f"{block.id} is an on-demand reservation, not a Capacity Block.",
            why="EC2 refuses the launch of a Capacity Block's machine on it.",
            do="invoke cb.list shows the blocks. EC2 finds an open reservation without --use-capacity-block.",
        )
    _check_time(block)
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
            f"invoke cb.save-params --reservation-id {quoted(block.id)} -r {aws.region}",
        )
    if block.available < launching:
        raise InputError(
            f"The Capacity Block {block.id} has room for {block.available} of the {launching} machines to launch.",
            why=f"It is for {block.count}, and others run on it: invoke cb.describe --reservation-id {quoted(block.id)}"
            f" -r {aws.region} shows them.",
            do="End those, name another block, or deploy fewer with --count.",
        )


def _check_time(block: Reservation) -> None:
    if block.state != "active":
        wait = f"invoke cb.wait --until active --reservation-id {quoted(block.id)} -r {block.region} waits for it."
        another = f"Buy another, invoke cb.search -r {block.region}, or name one that you have, invoke cb.list."
        raise InputError(
            f"The Capacity Block {block.id} is {block.state}, not active.",
            why=f"{block.outlook[:1].upper()}{block.outlook[1:]}. AWS takes a launch on an active block only.",
            do=another if block.state in GONE else wait,
        )
    if block.is_reclaimed and block.end:
        raise InputError(
            f"The Capacity Block {block.id} can no longer be used: AWS takes its instances back.",
            why=f"It ends in {in_words(block.end - block.seen)}.",
            do="Name another block, or extend this one next time: invoke cb.extend.",
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
        do="Add --subnet-id, or save the block: "
        + command("invoke cb.save-params", "--reservation-id", reservation_id, "-r", region),
    )
