"""The subnet for a data volume, found before Terraform plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchneuron.aws.ec2 import Instance
from torchneuron.aws.session import Aws
from torchneuron.capacity_blocks import launch_check
from torchneuron.connectivity import subnets
from torchneuron.core.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def needs_subnet(config: Config, choices: Mapping[str, Any]) -> bool:
    """Whether there is to be a data volume, and nothing names its zone."""
    size = choices.get("dataVolumeSize", config.data_volume_size)
    return bool(size) and not (choices.get("subnetId") or choices.get("useCapacityBlock"))


def find_subnet(aws: Aws, instance_type: str, running: Sequence[Instance], zone: str = "") -> str:
    """The subnet of the `running` machines; else one of the default VPC, in `zone` or a zone that offers the type.

    Raises InputError and NotFoundError.
    """
    if subnet_id := next((machine.subnet_id for machine in running if machine.subnet_id), ""):
        return subnet_id
    if zone:
        return subnets.find(aws.ec2(), aws.region, zone=zone, user="the data volume")
    return launch_check.find_subnet(aws, instance_type)
