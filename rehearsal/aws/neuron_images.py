"""The Neuron Deep Learning AMIs: images that EC2 can launch, and the public SSM parameters with their ids.

Sources
-------
- Parameter names: Neuron DLAMI user guide (awsdocs-neuron, "Neuron DLAMI User Guide"): per framework and operating
  system, `/aws/service/neuron/dlami/NAME/latest/image_id`. The releases here are a selection.
- ap-south-2 has neither the namespace nor the images ("not a valid namespace": foxl-ai/kiln, docs/neuron-notes.md,
  October 2026); the rest of that text is assumed.
- Owner 898082745236 is Amazon's DLAMI account; Ubuntu images have their root at /dev/sda1, Amazon Linux's at
  /dev/xvda (EC2 user guide, "Device names").
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami
from moto.ssm.models import Parameter, ssm_backends

from rehearsal.errors import AwsError

NAMESPACE = "/aws/service/neuron"
PREFIX = f"{NAMESPACE}/dlami/"
_REGIONS_WITHOUT = ("ap-south-2",)
OWNER = "898082745236"
ROOT_SIZE = 50
"""GiB of the root snapshot, the minimum size of a volume created from it."""

_publishing = threading.Lock()


@dataclass(frozen=True)
class Image:
    """`key`: the part of the parameter's name between the prefix and `/latest/image_id`."""

    key: str
    name: str
    root_device: str = "/dev/sda1"

    @property
    def parameter(self) -> str:
        return f"{PREFIX}{self.key}/latest/image_id"

    def image_id(self, region: str) -> str:
        return "ami-" + hashlib.sha256(f"{region} {self.name}".encode()).hexdigest()[:17]


_RELEASE = "20261101"
IMAGES = (
    Image("multi-framework/ubuntu-24.04", f"Deep Learning AMI Neuron (Ubuntu 24.04) {_RELEASE}"),
    Image("multi-framework/ubuntu-22.04", "Deep Learning AMI Neuron (Ubuntu 22.04) 20260101"),
    Image("pytorch-2.9/ubuntu-24.04", f"Deep Learning AMI Neuron PyTorch 2.9 (Ubuntu 24.04) {_RELEASE}"),
    Image("base/ubuntu-24.04", f"Deep Learning Base Neuron AMI (Ubuntu 24.04) {_RELEASE}"),
    Image("base/amazon-linux-2023", f"Deep Learning Base Neuron AMI (Amazon Linux 2023) {_RELEASE}", "/dev/xvda"),
)


class NeuronAmi(Ami):  # type: ignore[misc] # moto has no types
    """moto's image, with a root volume of ROOT_SIZE."""

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        root = {
            "SnapshotId": self.ebs_snapshot.id,
            "VolumeSize": ROOT_SIZE,
            "DeleteOnTermination": True,
            "VolumeType": "gp3",
            "Encrypted": False,
        }
        return [{"DeviceName": self.root_device_name, "Ebs": root}]


def publish(account: str, region: str) -> None:
    """Add the images and parameters to the region if they are missing; fast if they are not."""
    if region in _REGIONS_WITHOUT:
        return
    images, parameters = ec2_backends[account][region].amis, ssm_backends[account][region]._parameters
    with _publishing:
        for image in IMAGES:
            image_id = image.image_id(region)
            if image_id not in images:
                images[image_id] = _ami(image, account, region)
            if not parameters[image.parameter]:
                parameters[image.parameter].append(_parameter(image, account, region))


def check_namespace(region: str, parameter: str) -> None:
    """AwsError for a Neuron parameter in a region without the namespace."""
    if region in _REGIONS_WITHOUT and parameter.startswith(NAMESPACE):
        raise AwsError("ValidationException", f"{parameter} is not a valid namespace.")


def _ami(image: Image, account: str, region: str) -> Ami:
    ami = NeuronAmi(
        ec2_backends[account][region],
        image.image_id(region),
        name=image.name,
        description=image.name,
        owner_id=OWNER,
        owner_alias="amazon",
        public=True,
        virtualization_type="hvm",
        architecture="x86_64",
        hypervisor="xen",
        root_device_type="ebs",
        root_device_name=image.root_device,
        image_location=f"amazon/{image.name}",
        boot_mode="uefi-preferred",
        region_name=f"{region}a",
    )
    ami.ebs_snapshot.volume.size = ROOT_SIZE
    return ami


def _parameter(image: Image, account: str, region: str) -> Parameter:
    return Parameter(
        account_id=account,
        name=image.parameter,
        value=image.image_id(region),
        parameter_type="String",
        description=None,
        allowed_pattern=None,
        keyid=None,
        last_modified_date=datetime.now(timezone.utc),
        version=1,
        data_type="aws:ec2:image",
    )
