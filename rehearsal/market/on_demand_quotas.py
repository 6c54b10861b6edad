"""vCPU quotas of Trn and Inf instances, on demand and on Capacity Blocks, per region. Does not import moto.

Sources
-------
- Codes and names: ListServiceQuotas for `ec2`. AWS's own defaults differ by account, and many are 0; the default here
  allows eight trn2.48xlarge.
- The quotas count vCPUs of running instances: EC2 user guide, "On-Demand Instance quotas". Instances on Capacity
  Blocks do not count: EC2 user guide, "Capacity Blocks quotas".
- The error and its text: amazon-cloudwatch-agent-test 256, bentoctl 202.
- If the quota allows MinCount but not MaxCount instances, as many start as it allows: EC2 API, RunInstances, MaxCount.
  Assumed: this holds for quotas as well as for capacity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rehearsal.errors import AwsError

DEFAULT_VCPUS = 1536.0
DEFAULT_BLOCK_VCPUS = 12288.0
"""Allows 64 trn2.48xlarge, the maximum of a block. AWS's own default is 0 (foxl-ai/kiln, docs/neuron-notes.md)."""


@dataclass(frozen=True)
class Quota:
    """An EC2 quota. `family`: the prefix of its instance types."""

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
"""Returned by Service Quotas but not enforced: AWS does not publish the error for a purchase beyond the quota."""


def default_quotas() -> dict[str, float]:
    """vCPUs by family, on demand, before the control API changes them."""
    return dict.fromkeys((quota.family for quota in QUOTAS), DEFAULT_VCPUS)


def default_block_quotas() -> dict[str, float]:
    """vCPUs by family, on Capacity Blocks, before the control API changes them."""
    return dict.fromkeys((quota.family for quota in BLOCK_QUOTAS), DEFAULT_BLOCK_VCPUS)


@dataclass(frozen=True)
class OnDemandLaunch:
    """An on-demand launch of `minimum` to `maximum` instances with `vcpus` each."""

    instance_type: str
    vcpus: int
    minimum: int
    maximum: int


def admit(launch: OnDemandLaunch, limits: Mapping[str, float], running: Iterable[tuple[str, int]]) -> int:
    """How many instances to launch; AwsError when that is fewer than the minimum.

    `limits`: vCPUs by family. `running`: type and vCPUs of each running on-demand instance.
    """
    family = next((quota.family for quota in QUOTAS if launch.instance_type.startswith(quota.family)), None)
    if family is None:
        return launch.maximum
    used = sum(vcpus for instance_type, vcpus in running if instance_type.startswith(family))
    allowed = int(max(limits[family] - used, 0) // launch.vcpus)
    if allowed < launch.minimum:
        raise AwsError(
            "VcpuLimitExceeded",
            f"You have requested more vCPU capacity than your current vCPU limit of {limits[family]:g} allows for the"
            " instance bucket that the specified instance type belongs to. Please visit"
            " http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
        )
    return min(allowed, launch.maximum)
