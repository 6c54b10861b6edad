"""The machines: a launch template and the instances started from it.

A Capacity Block launch needs the market type and the reservation together in one request. A
launch template can carry both, so the instance is started from one and adds only what belongs to itself.
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
    """How the machine is launched: type, root volume, metadata service, and the Capacity Block if any."""

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
            # The hop limit keeps containers on the machine away from its role's credentials.
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
    """Both halves of a Capacity Block launch, or neither.

    The reservation preference stays out: EC2 refuses most of its values beside a target
    (hashicorp/terraform-provider-aws 43881).
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
    """The instances themselves, `count` of them, one resource (`instance`).

    The AMI is the instance's own and its changes are ignored: "the newest" moves every few weeks,
    and a machine someone works on is not replaced for that. Were it in the template, each newer AMI
    would make a new template version, and a new version replaces the instance; were it ignored
    there, a machine made anew, for the next Capacity Block say, would start from a stale AMI.
    `refresh_ami` is for the person who wants the newest one on a machine that runs.
    What else the template says is asked for by a person: a change of it does plan a replacement,
    visibly, and the deployment's guard stops there. So does an AMI whose root device has another
    name, which means another family of Linux, not a newer release of the same.
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
            # The resolved number, not "$Latest": a change of the template then shows in the same plan.
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
        """A reference to the list of an attribute of theirs."""
        return every(self.instance, attribute)

    def first(self, attribute: str) -> str:
        """A reference to that attribute of the first, which commands that take one machine mean."""
        return f"${{{self.instance.fqn}[0].{attribute}}}"


def every(resource: TerraformResource, attribute: str) -> str:
    """The list of an attribute of each instance of a counted resource: cdktf's own references know of one only."""
    return f"${{{resource.fqn}[*].{attribute}}}"


def same(resource: TerraformResource, attribute: str) -> str:
    """In a resource with the same count, the attribute of its counterpart."""
    return f"${{{resource.fqn}[count.index].{attribute}}}"
