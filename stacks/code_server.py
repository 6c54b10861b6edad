"""The one stack: everything a code-server machine needs, wired together, and its outputs."""

from __future__ import annotations

from cdktf import TerraformOutput, TerraformStack
from constructs import Construct

from stacks.backend import keep_state
from stacks.firewall import Firewall
from stacks.identity import MachineIdentity
from stacks.image import MachineImage
from stacks.machine import Machine, MachineTemplate
from stacks.password import GeneratedPassword
from stacks.placement import CapacityBlock, Network
from stacks.provider import AwsProvider, AwsProviderDefaultTags
from torchneuron.config import Deployment


class CodeServerStack(TerraformStack):
    """The infrastructure of one deployment. Building it calls nothing: lookups are Terraform data sources."""

    def __init__(self, scope: Construct, *, deployment: Deployment) -> None:
        super().__init__(scope, deployment.name)
        region = deployment.region
        project = deployment.name
        tags = {"Project": project, "ManagedBy": "torchneuron"}
        keep_state(self, backend=deployment.backend)
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
            port=deployment.nginx_port,
            allowed_ips=deployment.allowed_ips,
        )
        identity = MachineIdentity(self, "identity", project=project)
        password = GeneratedPassword(self, "password", project=project)
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
        machine = Machine(
            self,
            "machine",
            image=image,
            template=template,
            subnet_id=network.subnet_id,
            tags={"Name": project},
            # The agent on the machine asks for its permissions at boot.
            depends_on=[identity.permission],
        )
        outputs = {
            "instance_id": machine.instance_id,
            "public_dns": machine.public_dns,
            "security_group_id": firewall.group_id,
            "secret_arn": password.secret_arn,
            "region": region,
        }
        for output, value in outputs.items():
            TerraformOutput(self, output, value=value)
