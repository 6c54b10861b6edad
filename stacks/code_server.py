"""The stack: all resources of a deployment, and its outputs."""

from __future__ import annotations

from typing import Any

from constructs import Construct

from stacks.backend import add_backend
from stacks.cdk import Precondition, TerraformOutput, TerraformResource, TerraformStack
from stacks.data_volume import DataVolumes
from stacks.firewall import Firewall
from stacks.identity import MachineIdentity
from stacks.image import MachineImage
from stacks.machine import Machines, MachineTemplate
from stacks.password import GeneratedPassword
from stacks.placement import CapacityBlock, Network, PlacementChecks
from stacks.provider import AwsProvider, AwsProviderDefaultTags
from torchneuron.core import tags as project_tags
from torchneuron.core.config import HTTPS_PORT, Deployment
from torchneuron.core.versions import REQUIRED_TERRAFORM


class CodeServerStack(TerraformStack):
    """The infrastructure of one deployment. Synthesis makes no AWS calls: lookups are data sources."""

    def __init__(self, scope: Construct, *, deployment: Deployment) -> None:
        super().__init__(scope, deployment.name)
        region = deployment.region
        project = deployment.name
        tags = project_tags.for_project(project)
        self.add_override("terraform.required_version", REQUIRED_TERRAFORM)
        add_backend(self, backend=deployment.backend)
        AwsProvider(self, "aws", region=region, default_tags=[AwsProviderDefaultTags(tags=tags)])

        block = None
        if deployment.use_capacity_block:
            block = CapacityBlock(self, "block", region=region, reservation_id=deployment.capacity_reservation_id)
        network = Network(
            self,
            "network",
            region=region,
            subnet_id=deployment.subnet_id,
            on_capacity_block=block is not None,
        )
        firewall = Firewall(
            self,
            "firewall",
            project=project,
            vpc_id=network.vpc_id,
            ports={"nginx": deployment.nginx_port, **({"nginx, HTTPS": HTTPS_PORT} if deployment.https else {})},
            allowed_ips=deployment.allowed_ips,
        )
        password = GeneratedPassword(self, "password", project=project)
        identity = MachineIdentity(self, "identity", project=project, region=region, secret_arn=password.secret_arn)
        image = MachineImage(self, "image", ami_parameter=deployment.ami_parameter)
        template = MachineTemplate(
            self,
            "template",
            project=project,
            instance_type=deployment.instance_type,
            volume_size=deployment.volume_size,
            root_device_name=image.root_device_name,
            profile_name=identity.profile_name,
            security_group_id=firewall.group_id,
            reservation_id=block.reservation_id if block else None,
            tags={**tags, "Name": project},
        )
        checks: list[Precondition] = []
        if block:
            placement = PlacementChecks(
                self, "placement", region=region, instance_type=deployment.instance_type, block=block, network=network
            )
            checks = placement.conditions
        machines = Machines(
            self,
            "machines",
            count=deployment.count,
            image=image,
            template=template,
            subnet_id=network.subnet_id,
            tags={"Name": project},
            conditions=checks,
            refresh_ami=deployment.refresh_ami,
            # The SSM agent needs its permissions at boot.
            depends_on=[identity.permission],
        )
        data_ids: str | list[str] = []
        attachments: list[TerraformResource] = []
        if deployment.data_volume_size and network.zone:
            data = DataVolumes(
                self,
                "data",
                count=deployment.count,
                size=deployment.data_volume_size,
                zone=network.zone,
                tags={"Name": f"{project}-data", project_tags.DATA: "data"},
            )
            attachments.append(data.attach_to(machines))
            data_ids = data.ids
        outputs: dict[str, Any] = {
            "instance_id": machines.first("id"),
            "instance_ids": machines.all("id"),
            "public_dns": machines.first("public_dns"),
            "public_dns_names": machines.all("public_dns"),
            "data_volume_ids": data_ids,
            "security_group_id": firewall.group_id,
            "secret_arn": password.secret_arn,
            "region": region,
            "allowed_ips": list(deployment.allowed_ips),
        }
        for output, value in outputs.items():
            TerraformOutput(self, output, value=value)
        choices = TerraformOutput(self, "choices", value=_choices(deployment, block=block, network=network))
        # Written after the machines, so that the next deploy does not repeat the values of a failed one. An override:
        # cdktf 0.21 writes depends_on of an output as expressions, which Terraform refuses.
        dependencies = [
            f"{resource.terraform_resource_type}.{resource.friendly_unique_id}"
            for resource in (machines.instance, *attachments)
        ]
        choices.add_override("depends_on", dependencies)


def _choices(deployment: Deployment, *, block: CapacityBlock | None, network: Network) -> dict[str, Any]:
    """The values of this deployment that the next one keeps, by the names of the schema's `$defs/deployment`.

    They include every value whose change replaces a machine, also defaults: neither an omitted option nor a changed
    default may replace one. Of the allowed addresses, only overrides are kept, not those of the settings.
    """
    chosen: dict[str, Any] = {
        "instanceType": deployment.instance_type,
        "volumeSize": deployment.volume_size,
        "dataVolumeSize": deployment.data_volume_size,
        "count": deployment.count,
        "useCapacityBlock": block is not None,
    }
    if block:
        chosen["capacityReservationId"] = block.reservation_id
    if network.subnet_id:
        chosen["subnetId"] = network.subnet_id
    if deployment.allowed_ips_chosen:
        chosen["allowedIps"] = list(deployment.allowed_ips)
    if deployment.open_to_world:
        chosen["openToWorld"] = True
    return chosen
