"""How many vCPUs of Trn and Inf instances may run at a time, a region: on demand, or on Capacity Blocks. Pure: no moto.

Sources
-------
- Codes and names: Service Quotas, as ListServiceQuotas gives them for `ec2`. AWS's own defaults differ by account and
  are 0 for many; the one here is for eight trn2.48xlarge.
- What counts are vCPUs of running instances: EC2 user guide, "On-Demand Instance quotas". Instances on Capacity Blocks
  do not: EC2 user guide, "Capacity Blocks quotas".
- The refusal and its text: amazon-cloudwatch-agent-test 256, bentoctl 202.
- Where there is room for the least but not for the most instances asked for, as many start as there is room for: EC2
  API, RunInstances, MaxCount. That this holds for quotas, too, is assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rehearsal.errors import AwsError

VCPUS = 1536.0
BLOCK_VCPUS = 12288.0
"""For 64 trn2.48xlarge, the most that a block can have. AWS's own default is 0 (foxl-ai/kiln, docs/neuron-notes.md)."""


@dataclass(frozen=True)
class Quota:
    """A quota of EC2's, and the letters that its instance types begin with."""

    family: str
    code: str
    name: str


QUOTAS = (
    Quota("trn", "L-2C3B7624", "Running On-Demand Trn instances"),
    Quota("inf", "L-1945791B", "Running On-Demand Inf instances"),
)


BLOCK_QUOTAS = (
    Quota("trn1", "L-2E30FD7D", "Concurrent TRN1 Capacity Blocks per account"),
    Quota("trn2", "L-64569A79", "Concurrent TRN2 Capacity Blocks per account"),
)
"""Told, and held against nothing here: what a purchase beyond it is answered is not published."""


def blocks_at_first() -> dict[str, float]:
    """The same for Capacity Blocks."""
    return dict.fromkeys((quota.family for quota in BLOCK_QUOTAS), BLOCK_VCPUS)


def at_first() -> dict[str, float]:
    """Each family's vCPUs before the control API says otherwise."""
    return dict.fromkeys((quota.family for quota in QUOTAS), VCPUS)


@dataclass(frozen=True)
class Asked:
    """A launch on demand of `least` to `most` instances of `vcpus` each."""

    instance_type: str
    vcpus: int
    least: int
    most: int


def admit(asked: Asked, limits: Mapping[str, float], running: Iterable[tuple[str, int]]) -> int:
    """How many instances may start beside those that run on demand: their types and vCPUs. AwsError for too few."""
    family = next((quota.family for quota in QUOTAS if asked.instance_type.startswith(quota.family)), None)
    if family is None:
        return asked.most
    used = sum(vcpus for instance_type, vcpus in running if instance_type.startswith(family))
    room = int(max(limits[family] - used, 0) // asked.vcpus)
    if room < asked.least:
        raise AwsError(
            "VcpuLimitExceeded",
            f"You have requested more vCPU capacity than your current vCPU limit of {limits[family]:g} allows for the"
            " instance bucket that the specified instance type belongs to. Please visit"
            " http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
        )
    return min(room, asked.most)
