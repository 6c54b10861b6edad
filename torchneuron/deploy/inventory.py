"""What is deployed: the machines and what belongs to them, from Terraform's outputs or by their tags.

Where no state is at hand (another person's machine, a bucket that cannot be read), every part still says whose it is:
the stack tags all of them with the project's name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchneuron.aws.errors import calling
from torchneuron.aws.session import Aws
from torchneuron.capacity_blocks import reservations
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.core import display
from torchneuron.core import tags as project_tags
from torchneuron.core.errors import AccessError, AwsError, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef, VolumeTypeDef

# EC2 user guide, "List and filter using the CLI and API": at most 200 values a filter.
_FILTER_VALUES = 200

GONE = frozenset({"shutting-down", "terminated"})
"""States, in EC2's spelling, of an instance that is lost."""


@dataclass(frozen=True)
class Machine:
    """One instance as EC2 has it. `block` is the Capacity Block it runs on, or `block_unreadable` says why not."""

    instance_id: str
    instance_type: str
    state: str
    zone: str
    public_dns: str
    security_group_ids: tuple[str, ...] = ()
    reservation_id: str = ""
    block: Reservation | None = None
    block_unreadable: str = ""
    template_id: str = ""
    subnet_id: str = ""


@dataclass(frozen=True)
class Deployed:
    """A deployment that exists. `lost` are instances it had that are no more. `open_to` are the CIDR blocks, or ids of
    groups and prefix lists, that may reach its nginx.

    `from_state` tells Terraform's outputs from what was found by tags.
    """

    region: str
    machines: tuple[Machine, ...]
    security_group_id: str
    secret_arn: str
    data_volume_ids: tuple[str, ...] = ()
    open_to: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    from_state: bool = True

    @property
    def instance_ids(self) -> tuple[str, ...]:
        return tuple(machine.instance_id for machine in self.machines)


def from_outputs(aws: Aws, outputs: Mapping[str, Any]) -> Deployed:
    """What Terraform's outputs name, as EC2 has it. Raises NotFoundError when there is nothing, or nothing any more."""
    ids = ids_in(outputs)
    if not ids:
        raise nothing(aws.region)
    volumes = tuple(outputs.get("data_volume_ids") or ())
    found = {one.instance_id: one for one in _with_blocks(aws, there(aws.ec2(), ids))}
    if not found:
        raise NotFoundError(
            f"The machine {', '.join(ids)} is gone.",
            why="It was terminated: by invoke destroy, at the end of its Capacity Block, or by someone."
            + (f" Its data is in {', '.join(volumes)}." if volumes else ""),
            do=f"invoke deploy -r {aws.region} makes a new one; invoke destroy -r {aws.region} removes the rest.",
        )
    return Deployed(
        region=aws.region,
        machines=tuple(found[one] for one in ids if one in found),
        lost=tuple(one for one in ids if one not in found),
        security_group_id=outputs["security_group_id"],
        secret_arn=outputs["secret_arn"],
        data_volume_ids=volumes,
        open_to=tuple(outputs.get("allowed_ips") or ()),
    )


def by_tags(aws: Aws, project: str) -> Deployed:
    """What carries the project's tags in the region, without any state. Raises NotFoundError when nothing does."""
    if not (machines := _with_blocks(aws, living(aws.ec2(), project))):
        raise nothing(aws.region)
    groups, secrets = machines[0].security_group_ids, secret_arns(aws, project)
    return Deployed(
        region=aws.region,
        machines=tuple(sorted(machines, key=lambda machine: machine.instance_id)),
        security_group_id=groups[0] if groups else "",
        secret_arn=secrets[0] if len(secrets) == 1 else "",
        data_volume_ids=tuple(sorted(one["VolumeId"] for one in _data_volumes(aws.ec2(), {"tag:Project": [project]}))),
        from_state=False,
    )


def ids_in(outputs: Mapping[str, Any]) -> list[str]:
    """The instances that the outputs name, there or not; none where nothing was ever deployed."""
    return list(outputs.get("instance_ids") or ())


def living(ec2: EC2Client, project: str) -> list[Machine]:
    """The instances with the project's tags that are not lost."""
    alive: FilterTypeDef = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
    return _machines(ec2, [*project_tags.filters(project_tags.for_project(project)), alive])


def running_with(ec2: EC2Client, tag: str, value: str) -> list[Machine]:
    """The instances with a tag, whoever's they are, that run or are about to."""
    alive: FilterTypeDef = {"Name": "instance-state-name", "Values": ["pending", "running"]}
    return _machines(ec2, [*project_tags.filters({tag: value}), alive])


def there(ec2: EC2Client, instance_ids: Sequence[str]) -> list[Machine]:
    """Those of these instances that are not lost."""
    if not instance_ids:
        return []
    # By a filter: asked for by id, one that EC2 has forgotten would hide the others.
    found = _machines(ec2, [{"Name": "instance-id", "Values": list(instance_ids)}])
    return [machine for machine in found if machine.state not in GONE]


def data_volumes_of(aws: Aws, instance_ids: Sequence[str]) -> dict[str, str]:
    """The data volumes attached to instances, of whatever deployment of ours, by instance.

    An instance may be anybody's, and its owner need not let volumes be looked at: then this warns, and knows of none.
    """
    found: dict[str, str] = {}
    try:
        for at in range(0, len(instance_ids), _FILTER_VALUES):
            found |= _attached(aws.ec2(), instance_ids[at : at + _FILTER_VALUES])
    except AccessError as error:
        display.warn(f"whether there are data volumes cannot be seen, so none is set up. {error.what}")
        return {}
    return found


def _attached(ec2: EC2Client, instance_ids: Sequence[str]) -> dict[str, str]:
    volumes = _data_volumes(ec2, {"attachment.instance-id": instance_ids})
    at = {attached["InstanceId"]: volume["VolumeId"] for volume in volumes for attached in volume["Attachments"]}
    return {instance_id: at[instance_id] for instance_id in instance_ids if instance_id in at}


def loose_data_volumes(aws: Aws, project: str) -> list[str]:
    """The ids of the project's data volumes that no machine has."""
    which = {"tag:Project": [project], "status": ["available"]}
    return sorted(one["VolumeId"] for one in _data_volumes(aws.ec2(), which))


def _data_volumes(ec2: EC2Client, which: Mapping[str, Sequence[str]]) -> list[VolumeTypeDef]:
    filters: list[FilterTypeDef] = [{"Name": name, "Values": list(values)} for name, values in which.items()]
    filters += project_tags.filters({**project_tags.MANAGED, project_tags.DATA: "data"})
    with calling("look for data volumes"):
        pages = ec2.get_paginator("describe_volumes").paginate(Filters=filters)
        return [volume for page in pages for volume in page["Volumes"]]


def nothing(region: str) -> NotFoundError:
    """The error of a region where nothing is deployed."""
    return NotFoundError(f"Nothing is deployed in {region}.", do="Deploy with: invoke deploy")


def _with_blocks(aws: Aws, machines: Sequence[Machine]) -> list[Machine]:
    """The machines with what there is to say of the Capacity Blocks they run on: for showing them."""
    blocks = {one: _block(aws, one) for one in {machine.reservation_id for machine in machines} if one}
    return [dataclasses.replace(machine, **blocks.get(machine.reservation_id, {})) for machine in machines]


def _block(aws: Aws, reservation_id: str) -> dict[str, Any]:
    try:
        return {"block": reservations.describe(aws.ec2(), aws.region, reservation_id)}
    except (AwsError, NotFoundError) as error:
        return {"block_unreadable": error.what}


def _machines(ec2: EC2Client, which: Sequence[FilterTypeDef]) -> list[Machine]:
    with calling("look at the machines"):
        pages = ec2.get_paginator("describe_instances").paginate(Filters=list(which))
        return [_machine(one) for page in pages for group in page["Reservations"] for one in group["Instances"]]


def _machine(raw: InstanceTypeDef) -> Machine:
    tags = {tag.get("Key", ""): tag.get("Value", "") for tag in raw.get("Tags", [])}
    return Machine(
        instance_id=raw["InstanceId"],
        instance_type=raw["InstanceType"],
        state=raw["State"]["Name"],
        zone=raw["Placement"]["AvailabilityZone"],
        public_dns=raw.get("PublicDnsName", ""),
        security_group_ids=tuple(group["GroupId"] for group in raw.get("SecurityGroups", [])),
        reservation_id=raw.get("CapacityReservationId", ""),
        template_id=tags.get("aws:ec2launchtemplate:id", ""),
        subnet_id=raw.get("SubnetId", ""),
    )


def secret_arns(aws: Aws, project: str) -> list[str]:
    """The secrets with the project's tags, and a name that begins with the project's."""
    with calling("look for the secret"):
        pages = (
            aws.secrets()
            .get_paginator("list_secrets")
            .paginate(Filters=[{"Key": "name", "Values": [project_tags.name_prefix(project)]}])
        )
        secrets = [secret for page in pages for secret in page["SecretList"]]
    return [
        one["ARN"] for one in secrets if project_tags.has_tags(project_tags.for_project(project), one.get("Tags", []))
    ]
