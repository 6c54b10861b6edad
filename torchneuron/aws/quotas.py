"""The account's quotas for on-demand instances and Capacity Blocks, where they can be read: many are 0 at first.

Capacity Blocks do not count against the on-demand quotas (EC2 user guide, "Capacity Blocks quotas"). Codes: there, and
"On-Demand Instance quotas"; each is a number of vCPUs that run at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from torchneuron.aws.errors import calling
from torchneuron.aws.session import Aws
from torchneuron.core.errors import AwsError, InputError
from torchneuron.core.text import quoted


@dataclass(frozen=True)
class Quota:
    """A quota of EC2's, in vCPUs for each account and region."""

    name: str
    code: str


# By the letters an instance type begins with.
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
    """The quota for Capacity Blocks of a type, if it is known here."""
    return _BLOCKS.get(instance_type.partition(".")[0])


def check(aws: Aws, instance_type: str, launching: int, *, on_block: bool = False) -> str:
    """Refuse a launch that is more than the whole quota of its family; what runs already is not counted.

    Returns what was found. Raises InputError. A quota that is not known here or may not be read refuses nothing.
    """
    on_demand = next((quota for letters, quota in _ON_DEMAND.items() if instance_type.startswith(letters)), None)
    quota = for_blocks(instance_type) if on_block else on_demand
    if quota is None or launching < 1:
        return "not known"
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
        f"{launching} x {instance_type} have {needed} vCPUs, and this account may run {value:g} {how}.",
        why=f'The quota "{quota.name}" ({quota.code}) of EC2 in {aws.region} says so.',
        do=f"Have it raised: aws service-quotas request-service-quota-increase --region {aws.region}"
        f" --service-code ec2 --quota-code {quoted(quota.code)} --desired-value {needed}.{instead}",
    )


def _vcpus(aws: Aws, instance_type: str) -> int:
    with calling(f"look {instance_type} up"):
        answer = aws.ec2().describe_instance_types(InstanceTypes=[instance_type])  # type: ignore[list-item]
    return answer["InstanceTypes"][0]["VCpuInfo"]["DefaultVCpus"]
