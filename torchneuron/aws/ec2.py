"""EC2's instances, volumes and subnets: their dataclasses, and the lookups that return them.

Ids are passed as filters. EC2 rejects a whole request that names an id it does not know; a filter only drops that id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from torchneuron.aws.errors import aws_time, reading, utc

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef, SubnetTypeDef, TagTypeDef, VolumeTypeDef

# EC2 user guide, "List and filter using the CLI and API": at most 200 values per filter.
_MAX_FILTER_VALUES = 200

LIVE_STATES = ("pending", "running", "stopping", "stopped")
LOST_STATES = frozenset({"shutting-down", "terminated"})


@dataclass(frozen=True)
class Instance:
    """An instance. `launched` is its last start, in UTC, and `uptime` the time since then, by AWS's clock."""

    instance_id: str
    instance_type: str = ""
    state: str = ""
    state_reason: str = ""
    zone: str = ""
    vpc_id: str = ""
    subnet_id: str = ""
    security_group_ids: tuple[str, ...] = ()
    public_dns: str = ""
    public_ip: str = ""
    profile_arn: str = ""
    reservation_id: str = ""
    is_windows: bool = False
    has_metadata_service: bool = True
    launched: datetime | None = None
    uptime: timedelta = timedelta(0)
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def template_id(self) -> str:
        """The launch template it was launched from."""
        return self.tags.get("aws:ec2launchtemplate:id", "")


@dataclass(frozen=True)
class Volume:
    """An EBS volume, and the instances that it is attached to."""

    volume_id: str
    instance_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subnet:
    """A subnet. `assigns_public_ips`: whether instances launched in it get a public IP address."""

    subnet_id: str
    vpc_id: str
    zone: str
    cidr_block: str = ""
    free_addresses: int = 0
    assigns_public_ips: bool = False


def find_instances(
    ec2: EC2Client, filters: Mapping[str, Sequence[str]], *, tags: Mapping[str, str] | None = None
) -> list[Instance]:
    """The instances that match EC2's `filters` and have all `tags`, terminated ones included."""
    with reading("look up instances"):
        pages = ec2.get_paginator("describe_instances").paginate(Filters=_filters(filters, tags))
        return [_instance(raw, page) for page in pages for group in page["Reservations"] for raw in group["Instances"]]


def instances_by_id(ec2: EC2Client, instance_ids: Sequence[str]) -> dict[str, Instance]:
    """Those of the instances that EC2 knows, terminated ones included."""
    found: dict[str, Instance] = {}
    for ids in _chunks(instance_ids):
        found |= {instance.instance_id: instance for instance in find_instances(ec2, {"instance-id": ids})}
    return found


def existing_instances(ec2: EC2Client, instance_ids: Sequence[str]) -> list[Instance]:
    """Those of the instances that are neither terminated nor shutting down."""
    found = instances_by_id(ec2, instance_ids).values()
    return [instance for instance in found if instance.state not in LOST_STATES]


def find_volumes(
    ec2: EC2Client, filters: Mapping[str, Sequence[str]], *, tags: Mapping[str, str] | None = None
) -> list[Volume]:
    """The volumes that match EC2's `filters` and have all `tags`."""
    with reading("look up volumes"):
        pages = ec2.get_paginator("describe_volumes").paginate(Filters=_filters(filters, tags))
        return [_volume(raw) for page in pages for raw in page["Volumes"]]


def volumes_by_instance(
    ec2: EC2Client, instance_ids: Sequence[str], *, tags: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The id of a volume with all `tags` that is attached to each instance; instances without one are left out."""
    attached: dict[str, str] = {}
    for ids in _chunks(instance_ids):
        for volume in find_volumes(ec2, {"attachment.instance-id": ids}, tags=tags):
            attached |= dict.fromkeys(volume.instance_ids, volume.volume_id)
    return {instance_id: attached[instance_id] for instance_id in instance_ids if instance_id in attached}


def find_subnets(ec2: EC2Client, filters: Mapping[str, Sequence[str]]) -> list[Subnet]:
    """The subnets that match EC2's `filters`."""
    with reading("look up subnets"):
        pages = ec2.get_paginator("describe_subnets").paginate(Filters=_filters(filters))
        return [_subnet(raw) for page in pages for raw in page["Subnets"]]


def get_subnet(ec2: EC2Client, subnet_id: str) -> Subnet:
    """A subnet by its id, which EC2 validates. Raises AwsError with EC2's code for one that does not exist."""
    with reading(f"look up {subnet_id}"):
        return _subnet(ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"][0])


def _instance(raw: InstanceTypeDef, response: Mapping[str, Any]) -> Instance:
    launched = raw.get("LaunchTime")
    return Instance(
        instance_id=raw["InstanceId"],
        instance_type=raw.get("InstanceType", ""),
        state=raw.get("State", {}).get("Name", ""),
        state_reason=raw.get("StateReason", {}).get("Message", "") or raw.get("StateTransitionReason", ""),
        zone=raw.get("Placement", {}).get("AvailabilityZone", ""),
        vpc_id=raw.get("VpcId", ""),
        subnet_id=raw.get("SubnetId", ""),
        security_group_ids=tuple(group["GroupId"] for group in raw.get("SecurityGroups", []) if "GroupId" in group),
        public_dns=raw.get("PublicDnsName", ""),
        public_ip=raw.get("PublicIpAddress", ""),
        profile_arn=raw.get("IamInstanceProfile", {}).get("Arn", ""),
        reservation_id=raw.get("CapacityReservationId", ""),
        is_windows=raw.get("Platform", "").lower() == "windows",
        has_metadata_service=raw.get("MetadataOptions", {}).get("HttpEndpoint") != "disabled",
        launched=utc(launched) if launched else None,
        uptime=aws_time(response) - utc(launched) if launched else timedelta(0),
        tags=_tags(raw.get("Tags", [])),
    )


def _volume(raw: VolumeTypeDef) -> Volume:
    attachments = raw.get("Attachments", [])
    return Volume(
        raw["VolumeId"], tuple(attached["InstanceId"] for attached in attachments if "InstanceId" in attached)
    )


def _subnet(raw: SubnetTypeDef) -> Subnet:
    return Subnet(
        subnet_id=raw["SubnetId"],
        vpc_id=raw["VpcId"],
        zone=raw["AvailabilityZone"],
        cidr_block=raw.get("CidrBlock", ""),
        free_addresses=raw.get("AvailableIpAddressCount", 0),
        assigns_public_ips=raw.get("MapPublicIpOnLaunch", False),
    )


def _tags(listed: Sequence[TagTypeDef]) -> dict[str, str]:
    return {tag.get("Key", ""): tag.get("Value", "") for tag in listed}


def _filters(values: Mapping[str, Sequence[str]], tags: Mapping[str, str] | None = None) -> list[FilterTypeDef]:
    by_tag = {f"tag:{key}": [value] for key, value in (tags or {}).items()}
    return [{"Name": name, "Values": list(wanted)} for name, wanted in {**values, **by_tag}.items()]


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _MAX_FILTER_VALUES):
        yield ids[start : start + _MAX_FILTER_VALUES]
