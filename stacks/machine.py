"""The launch template, and the instances launched from it.

A launch on a Capacity Block needs the market type and the reservation in one request. A launch template has both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from constructs import Construct

from stacks.cdk import ITerraformDependable, Precondition, TerraformResource, TerraformResourceLifecycle, Token
from stacks.image import MachineImage
from stacks.provider import (
    Instance,
    InstanceLaunchTemplate,
    LaunchTemplate,
    LaunchTemplateBlockDeviceMappings,
    LaunchTemplateBlockDeviceMappingsEbs,
    LaunchTemplateCapacityReservationSpecification,
    LaunchTemplateCapacityReservationSpecificationCapacityReservationTarget,
    LaunchTemplateIamInstanceProfile,
    LaunchTemplateInstanceMarketOptions,
    LaunchTemplateMetadataOptions,
    LaunchTemplateTagSpecifications,
)
from torchneuron.core import tags as project_tags


class MachineTemplate(Construct):
    """The launch template: type, root volume, metadata service, and the Capacity Block if there is one."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        project: str,
        instance_type: str,
        volume_size: int,
        root_device_name: str,
        profile_name: str,
        security_group_id: str,
        reservation_id: str | None,
        tags: Mapping[str, str],
    ) -> None:
        super().__init__(scope, name)
        market, reservation = _on_capacity_block(reservation_id)
        template = LaunchTemplate(
            self,
            "template",
            name_prefix=project_tags.name_prefix(project),
            update_default_version=True,
            instance_type=instance_type,
            instance_market_options=market,
            capacity_reservation_specification=reservation,
            iam_instance_profile=LaunchTemplateIamInstanceProfile(name=profile_name),
            vpc_security_group_ids=[security_group_id],
            # The hop limit keeps containers from reading the role's credentials.
            metadata_options=LaunchTemplateMetadataOptions(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            block_device_mappings=[
                LaunchTemplateBlockDeviceMappings(
                    device_name=root_device_name,
                    ebs=LaunchTemplateBlockDeviceMappingsEbs(
                        volume_type="gp3",
                        volume_size=volume_size,
                        encrypted="true",
                        delete_on_termination="true",
                    ),
                )
            ],
            tag_specifications=[
                LaunchTemplateTagSpecifications(resource_type=resource_type, tags=dict(tags))
                for resource_type in ("instance", "volume")
            ],
        )
        template.override_logical_id("machine")
        self.id = template.id
        self.version = Token.as_string(template.latest_version)


def _on_capacity_block(
    reservation_id: str | None,
) -> tuple[LaunchTemplateInstanceMarketOptions | None, LaunchTemplateCapacityReservationSpecification | None]:
    """The market options and the reservation of a launch on a Capacity Block; None without one.

    No reservation preference: EC2 refuses most of its values together with a target (hashicorp/terraform-provider-aws
    issue 43881).
    """
    if reservation_id is None:
        return None, None
    return (
        LaunchTemplateInstanceMarketOptions(market_type="capacity-block"),
        LaunchTemplateCapacityReservationSpecification(
            capacity_reservation_target=LaunchTemplateCapacityReservationSpecificationCapacityReservationTarget(
                capacity_reservation_id=reservation_id
            )
        ),
    )


class Machines(Construct):
    """`count` instances, as one resource (`instance`).

    The AMI is set on the instance and its changes are ignored, unless `refresh_ami` is set: a newer AMI does not
    replace a running machine, but a new machine starts from the newest AMI. In the template, each newer AMI would
    create a new version, which replaces the instance. All other changes of the template do plan a replacement, which
    `invoke deploy` refuses without --allow-replace. So does an AMI whose root device has another name.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        count: int,
        image: MachineImage,
        template: MachineTemplate,
        subnet_id: str | None,
        tags: Mapping[str, str],
        conditions: Sequence[Precondition],
        refresh_ami: bool,
        depends_on: list[ITerraformDependable],
    ) -> None:
        super().__init__(scope, name)
        instance = Instance(
            self,
            "instance",
            count=count,
            ami=image.id,
            # The resolved version, not "$Latest", so that a change of the template shows in the same plan.
            launch_template=InstanceLaunchTemplate(id=template.id, version=template.version),
            subnet_id=subnet_id,
            tags=dict(tags),
            depends_on=depends_on,
            lifecycle=TerraformResourceLifecycle(
                ignore_changes=None if refresh_ami else ["ami"], precondition=list(conditions) or None
            ),
        )
        instance.override_logical_id("machine")
        self.instance = instance

    def all(self, attribute: str) -> str:
        """A reference to the list of an attribute of the machines."""
        return every(self.instance, attribute)

    def first(self, attribute: str) -> str:
        """A reference to an attribute of the first machine, the default of commands that take one machine."""
        return f"${{{self.instance.fqn}[0].{attribute}}}"


def every(resource: TerraformResource, attribute: str) -> str:
    """A reference to the list of an attribute of a resource with `count`. cdktf supports only one instance."""
    return f"${{{resource.fqn}[*].{attribute}}}"


def counterpart(resource: TerraformResource, attribute: str) -> str:
    """A reference, from a resource with the same `count`, to the attribute at the same index."""
    return f"${{{resource.fqn}[count.index].{attribute}}}"
