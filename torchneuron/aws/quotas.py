"""The account's vCPU quotas for on-demand instances and Capacity Blocks. Many are 0 in a new account.

Capacity Blocks do not count against the on-demand quotas. Source, also of the codes: EC2 user guide, "Capacity Blocks
quotas" and "On-Demand Instance quotas".
"""

from __future__ import annotations

from dataclasses import dataclass

from torchneuron.aws.errors import calling
from torchneuron.aws.session import Aws
from torchneuron.core.errors import AwsError, InputError
from torchneuron.core.text import quoted


@dataclass(frozen=True)
class Quota:
    """An EC2 quota, in vCPUs per account and region."""

    name: str
    code: str


# By the prefix of the instance type.
_ON_DEMAND = {
    "trn": Quota("Running On-Demand Trn instances", "L-2C3B7624"),
    "inf": Quota("Running On-Demand Inf instances", "L-1945791B"),
}
# By family.
_BLOCKS = {
    "trn1": Quota("Concurrent TRN1 Capacity Blocks per account", "L-2E30FD7D"),
    "trn2": Quota("Concurrent TRN2 Capacity Blocks per account", "L-64569A79"),
}


def for_blocks(instance_type: str) -> Quota | None:
    """The Capacity Block quota of an instance type; None for an unknown family."""
    return _BLOCKS.get(instance_type.partition(".")[0])


def check(aws: Aws, instance_type: str, launching: int, *, on_block: bool = False) -> str:
    """Check that a launch does not exceed the whole quota of its family. Running instances are not counted.

    Returns the result as text, also for an unknown quota and one that cannot be read. Raises InputError for a launch
    that exceeds the quota.
    """
    on_demand = next((quota for prefix, quota in _ON_DEMAND.items() if instance_type.startswith(prefix)), None)
    quota = for_blocks(instance_type) if on_block else on_demand
    if quota is None or launching < 1:
        return "unknown"
    try:
        needed = launching * _vcpus(aws, instance_type)
        with calling("read the quota"):
            answer = aws.service_quotas().get_service_quota(ServiceCode="ec2", QuotaCode=quota.code)
        value = answer["Quota"]["Value"]
    except (AwsError, LookupError):
        return "could not be read"
    if value >= needed:
        return f"{value:g} vCPUs ({quota.name})"
    how, instead = ("on Capacity Blocks", "") if on_block else ("on demand", " Or use a Capacity Block.")
    raise InputError(
        f"{launching} x {instance_type} need {needed} vCPUs; the quota {how} is {value:g}.",
        why=f'This is the EC2 quota "{quota.name}" ({quota.code}) in {aws.region}.',
        do=f"Request an increase: aws service-quotas request-service-quota-increase --region {aws.region}"
        f" --service-code ec2 --quota-code {quoted(quota.code)} --desired-value {needed}.{instead}",
    )


def _vcpus(aws: Aws, instance_type: str) -> int:
    with calling(f"look up {instance_type}"):
        answer = aws.ec2().describe_instance_types(InstanceTypes=[instance_type])  # type: ignore[list-item]
    return answer["InstanceTypes"][0]["VCpuInfo"]["DefaultVCpus"]
