"""The account's quotas for on-demand instances, where they can be read: those of Trn and Inf are 0 at first.

Capacity Blocks do not count against them (EC2 user guide, "Capacity Blocks quotas"). Codes: EC2 user guide,
"On-Demand Instance quotas"; each is a number of vCPUs that run at a time.
"""

from __future__ import annotations

from torchneuron.aws import Aws
from torchneuron.aws_errors import calling
from torchneuron.errors import AwsError, InputError
from torchneuron.text import quoted

# By the letters an instance type begins with, the longest first.
_QUOTAS = (
    ("trn", "Running On-Demand Trn instances", "L-2C3B7624"),
    ("inf", "Running On-Demand Inf instances", "L-1945791B"),
)


def check(aws: Aws, instance_type: str, launching: int) -> None:
    """Refuse a launch that is more than the whole quota of its family; what runs already is not counted.

    Raises InputError. A quota that is not known here or may not be read says nothing.
    """
    known = next((one for one in _QUOTAS if instance_type.startswith(one[0])), None)
    if known is None or launching < 1:
        return
    _, name, code = known
    try:
        needed = launching * _vcpus(aws, instance_type)
        with calling("read the quota"):
            quota = aws.service_quotas().get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
    except (AwsError, LookupError):
        return
    if quota < needed:
        raise InputError(
            f"{launching} x {instance_type} have {needed} vCPUs, and this account may run {quota:g} on demand.",
            why=f'The quota "{name}" ({code}) of EC2 in {aws.region} says so.',
            do=f"Have it raised: aws service-quotas request-service-quota-increase --region {aws.region}"
            f" --service-code ec2 --quota-code {quoted(code)} --desired-value {needed}. Or use a Capacity Block.",
        )


def _vcpus(aws: Aws, instance_type: str) -> int:
    with calling(f"look {instance_type} up"):
        answer = aws.ec2().describe_instance_types(InstanceTypes=[instance_type])  # type: ignore[list-item]
    return answer["InstanceTypes"][0]["VCpuInfo"]["DefaultVCpus"]
