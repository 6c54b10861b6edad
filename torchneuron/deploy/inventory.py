"""What is deployed: the instances and their resources, found by Terraform's outputs or by the project's tags.

Tags are the way where no state is at hand: on another person's machine, or when the bucket cannot be read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torchneuron.aws.ec2 import (
    LIVE_STATES,
    LOST_STATES,
    Instance,
    find_instances,
    find_volumes,
    instances_by_id,
    volumes_by_instance,
)
from torchneuron.aws.errors import calling
from torchneuron.aws.session import Aws
from torchneuron.capacity_blocks import reservations
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.core import display
from torchneuron.core import tags as project_tags
from torchneuron.core.errors import AccessError, AwsError, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_DATA_VOLUME = {**project_tags.MANAGED, project_tags.DATA: "data"}


@dataclass(frozen=True)
class Deployed:
    """A deployment.

    `lost` are ids of instances that it had and that are terminated. `blocks` are the Capacity Blocks of its instances
    by reservation id, with the error message in place of one that cannot be read. `open_to` are the CIDR blocks, or
    ids of security groups and prefix lists, that may connect to nginx. `from_state` is False for what was found by
    tags.
    """

    region: str
    instances: tuple[Instance, ...]
    security_group_id: str
    secret_arn: str
    data_volume_ids: tuple[str, ...] = ()
    open_to: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    blocks: Mapping[str, Reservation | str] = field(default_factory=dict)
    from_state: bool = True

    @property
    def instance_ids(self) -> tuple[str, ...]:
        return tuple(instance.instance_id for instance in self.instances)


def from_outputs(aws: Aws, outputs: Mapping[str, Any]) -> Deployed:
    """The deployment that Terraform's outputs name. Raises NotFoundError when none of its instances exists."""
    ids = instance_ids(outputs)
    if not ids:
        raise _nothing_deployed(aws.region)
    volumes = tuple(outputs.get("data_volume_ids") or ())
    known = instances_by_id(aws.ec2(), ids)
    instances = tuple(known[id_] for id_ in ids if id_ in known and known[id_].state not in LOST_STATES)
    if not instances:
        raise NotFoundError(
            f"{', '.join(ids)} no longer exists.",
            why="It was terminated by invoke destroy, at the end of its Capacity Block, or by someone else."
            + (f" Its data is in {', '.join(volumes)}." if volumes else ""),
            do=f"Replace it: invoke deploy -r {aws.region}\nRemove the rest: invoke destroy -r {aws.region}",
        )
    existing = {instance.instance_id for instance in instances}
    return Deployed(
        region=aws.region,
        instances=instances,
        lost=tuple(id_ for id_ in ids if id_ not in existing),
        security_group_id=outputs["security_group_id"],
        secret_arn=outputs["secret_arn"],
        data_volume_ids=volumes,
        open_to=tuple(outputs.get("allowed_ips") or ()),
        blocks=_blocks(aws, instances),
    )


def by_tags(aws: Aws, project: str) -> Deployed:
    """What has the project's tags in the region. Raises NotFoundError when no instance does."""
    instances = live_instances(aws.ec2(), project)
    if not instances:
        raise _nothing_deployed(aws.region)
    groups, secrets = instances[0].security_group_ids, secret_arns(aws, project)
    volumes = find_volumes(aws.ec2(), {"tag:Project": [project]}, tags=_DATA_VOLUME)
    return Deployed(
        region=aws.region,
        instances=tuple(sorted(instances, key=lambda instance: instance.instance_id)),
        security_group_id=groups[0] if groups else "",
        secret_arn=secrets[0] if len(secrets) == 1 else "",
        data_volume_ids=tuple(sorted(volume.volume_id for volume in volumes)),
        blocks=_blocks(aws, instances),
        from_state=False,
    )


def instance_ids(outputs: Mapping[str, Any]) -> list[str]:
    """The instances that Terraform's outputs name, existing or not; empty before the first deploy."""
    return list(outputs.get("instance_ids") or ())


def live_instances(ec2: EC2Client, project: str) -> list[Instance]:
    """The instances with the project's tags that are neither terminated nor shutting down."""
    return find_instances(ec2, {"instance-state-name": LIVE_STATES}, tags=project_tags.for_project(project))


def data_volumes(aws: Aws, instance_ids: Sequence[str]) -> dict[str, str]:
    """The data volume attached to each instance, of any project; instances without one are left out.

    Warns, and returns none, where the caller may not list volumes: instances may belong to someone else.
    """
    try:
        return volumes_by_instance(aws.ec2(), instance_ids, tags=_DATA_VOLUME)
    except AccessError as error:
        display.warn(f"data volumes cannot be listed, so none is mounted. {error.what}")
        return {}


def unattached_data_volumes(aws: Aws, project: str) -> list[str]:
    """The ids of the project's data volumes that are attached to no instance."""
    filters = {"tag:Project": [project], "status": ["available"]}
    return sorted(volume.volume_id for volume in find_volumes(aws.ec2(), filters, tags=_DATA_VOLUME))


def secret_arns(aws: Aws, project: str) -> list[str]:
    """The secrets with the project's tags and name prefix."""
    with calling("list secrets"):
        pages = (
            aws.secrets()
            .get_paginator("list_secrets")
            .paginate(Filters=[{"Key": "name", "Values": [project_tags.name_prefix(project)]}])
        )
        secrets = [secret for page in pages for secret in page["SecretList"]]
    return [
        secret["ARN"]
        for secret in secrets
        if project_tags.has_tags(project_tags.for_project(project), secret.get("Tags", []))
    ]


def _nothing_deployed(region: str) -> NotFoundError:
    return NotFoundError(f"Nothing is deployed in {region}.", do="Deploy with: invoke deploy")


def _blocks(aws: Aws, instances: Collection[Instance]) -> dict[str, Reservation | str]:
    ids = {instance.reservation_id for instance in instances if instance.reservation_id}
    return {reservation_id: _block(aws, reservation_id) for reservation_id in ids}


def _block(aws: Aws, reservation_id: str) -> Reservation | str:
    try:
        return reservations.describe(aws.ec2(), aws.region, reservation_id)
    except (AwsError, NotFoundError) as error:
        return error.what
