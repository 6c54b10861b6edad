"""What can be known to fail before Terraform tries it, for minutes or for money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchneuron import quotas, subnets
from torchneuron.aws import Aws
from torchneuron.aws_errors import calling
from torchneuron.capacity_blocks.words import either
from torchneuron.config import Config, Deployment
from torchneuron.deployed import Machine
from torchneuron.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def check_on_demand(aws: Aws, deployment: Deployment, *, launching: int) -> None:
    """Refuse a place that cannot have `launching` more machines of the deployment's type on demand.

    EC2 has no capacity for such a launch, and the provider would try it for up to 50 paid minutes
    (hashicorp/terraform-provider-aws 43193, 49863: InsufficientInstanceCapacity is retried).
    Raises InputError and NotFoundError.
    """
    zones = _zones_with(aws, deployment.instance_type)
    if deployment.subnet_id:
        zone = subnets.zone_of(aws.ec2(), aws.region, deployment.subnet_id, do="Name another with --subnet-id.")
        if zone not in zones:
            raise InputError(
                f"{deployment.instance_type} is not offered in {zone}, where the subnet {deployment.subnet_id} is.",
                do=f"Name a subnet in {either(zones)} with --subnet-id.",
            )
    quotas.check(aws, deployment.instance_type, launching)


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
