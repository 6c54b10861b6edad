"""RunInstances and launch templates where moto differs from EC2, and the hosts of new instances.

moto ignores most of a launch template and knows no reservations. Here the template is merged into the request,
invalid requests are refused, and each instance gets a host.

Sources
-------
- Values in the request override the template's: EC2 API reference, RunInstances, LaunchTemplate.
- Targeting a block requires the market type (InvalidParameterValue with this text: terraform-aws-modules/
  terraform-aws-ec2-instance 404); a target excludes a preference other than capacity-reservations-only
  (InvalidParameterCombination with this text: gardener/machine-controller-manager-provider-aws 114,
  hashicorp/terraform-provider-aws 43881); the market type requires a target (EC2 user guide, "Launch instances into
  Capacity Blocks"; the code for a missing target is not published, so EC2's general one for such pairs is used).
- ImageId must be in the request or its template: botocore's model, RunInstances.ImageId; MissingParameter and
  InvalidAMIID.NotFound: EC2 API reference, "Error codes".
- Blocks support default tenancy only: EC2 user guide, "Capacity Blocks for ML".
- A dry run is answered once the request is valid (floci 3599); that capacity and quotas are checked later is assumed.
- Idempotency by ClientToken: EC2 developer guide, "Ensuring idempotency".
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.utils import filter_dict_attribute_mapping

from rehearsal.aws.ec2.instance_types import check_offered, default_vcpus, out_of_capacity, zones_offering
from rehearsal.aws.ec2.operations import EC2Operations
from rehearsal.errors import AwsError
from rehearsal.market import on_demand_quotas
from rehearsal.market.capacity_blocks import Launch

CAPACITY_BLOCK = "capacity-block"
GP3_IOPS, GP3_THROUGHPUT = 3000, 125
"""Defaults of a gp3 volume: EBS user guide, "General Purpose SSD volumes"."""

# moto's filters of DescribeInstances lack this one; `_complete` sets the attribute that it reads.
filter_dict_attribute_mapping["capacity-reservation-id"] = "capacity_reservation_id"


@dataclass(frozen=True)
class Target:
    """The capacity that a launch uses. `reservation_id`: None outside any reservation."""

    market_type: str | None
    reservation_id: str | None


class LaunchOperations(EC2Operations):
    """Operations that launch; moto dispatches by method name."""

    def run_instances(self) -> ActionResult:
        token = (self.region, self._get_param("ClientToken") or "")
        with self.world.launching:
            if token[1] and token in self.world.launches_by_token:
                return ActionResult(self.world.launches_by_token[token])
            self.params = merge_template(self.params, self._template())
            target = self._target()
            zone = self._choose_network(target)
            check_offered(self.region, zone, self._instance_type())
            self._complete_root_volume()
            self._dry_run()
            self.params["MinCount"] = self._admit(target, zone)
            reservation = super().run_instances().result
            self._complete(reservation.instances, target)
            if token[1]:
                self.world.launches_by_token[token] = reservation
            return ActionResult(reservation)

    def create_launch_template(self) -> ActionResult:
        """Remove what moto adds to the data: the template's own tags and empty user data. Clients see it as drift."""
        result = super().create_launch_template()
        template = self.ec2_backend.get_launch_template(result.result["LaunchTemplate"]["LaunchTemplateId"])
        data = template.latest_version().data
        specifications = data.pop("TagSpecifications", [])
        kept = [each for each in specifications if each["ResourceType"] != "launch-template"]
        if kept:
            data["TagSpecifications"] = kept
        if data.get("UserData") is None or not data["UserData"].decode():
            data.pop("UserData", None)
        return result

    def _instance_type(self) -> str:
        return str(self._get_param("InstanceType", "m1.small"))

    def _template(self) -> dict[str, Any]:
        specification = self._get_param("LaunchTemplate")
        if not specification:
            return {}
        return deepcopy(dict(self.ec2_backend._get_template_from_args(specification).data))

    def _target(self) -> Target:
        """The target of the launch; AwsError for a combination of parameters that EC2 refuses."""
        market_type = (self.params.get("InstanceMarketOptions") or {}).get("MarketType")
        specification = self.params.get("CapacityReservationSpecification") or {}
        reservation_id = (specification.get("CapacityReservationTarget") or {}).get("CapacityReservationId")
        if reservation_id and self.world.on_demand.find(self.region, reservation_id):
            raise NotImplementedError("instances on on-demand Capacity Reservations")
        preference = specification.get("CapacityReservationPreference")
        if reservation_id and preference not in (None, "capacity-reservations-only"):
            raise AwsError(
                "InvalidParameterCombination",
                "The request can include either a CapacityReservationId or a CapacityReservationPreference but not "
                "both.",
            )
        if market_type == CAPACITY_BLOCK and not reservation_id:
            raise AwsError(
                "InvalidParameterCombination",
                "The capacity-block market type requires a CapacityReservationTarget that names a Capacity Block.",
            )
        if reservation_id and market_type != CAPACITY_BLOCK:
            raise AwsError(
                "InvalidParameterValue",
                "The market type (purchasing) option is not valid. Choose a different market type and try again.",
            )
        return Target(market_type, reservation_id)

    def _choose_network(self, target: Target) -> str:
        """The zone of the launch. Sets the subnet and the security group where the request has none, as EC2 does."""
        interfaces = self._get_param("NetworkInterfaces") or []
        subnet_id = self._get_param("SubnetId") or next(
            (interface["SubnetId"] for interface in interfaces if "SubnetId" in interface), None
        )
        if subnet_id is None:
            subnet = self._default_subnet(target)
            (interfaces[0] if interfaces else self.params)["SubnetId"] = subnet.id
        else:
            subnet = self.ec2_backend.get_subnet(subnet_id)
        if not (self._get_param("SecurityGroupIds") or self._get_param("SecurityGroups") or interfaces):
            default = self.ec2_backend.get_security_group_from_name("default", vpc_id=subnet.vpc_id)
            self.params["SecurityGroupIds"] = [default.id]
        return str(subnet.availability_zone)

    def _default_subnet(self, target: Target) -> Any:
        """The default VPC's subnet in the requested zone, else in the reservation's, else in one offering the type."""
        subnets = self.ec2_backend.get_default_subnets()
        zone = self._get_param("Placement.AvailabilityZone")
        if zone:
            zones = [zone]
        elif target.reservation_id:
            zones = [self.world.market.block(self.region, target.reservation_id).offering.zone]
        else:
            zones = zones_offering(self.region, self._instance_type()) or sorted(subnets)
        for candidate in zones:
            if candidate in subnets:
                return subnets[candidate]
        raise AwsError("MissingInput", f"No default subnet for availability zone: '{', '.join(zones)}'.")

    def _image(self) -> Any:
        """The requested image; AwsError when the request names none, or one that does not exist."""
        image_id = self._get_param("ImageId")
        if not image_id:
            raise AwsError("MissingParameter", "The request must contain the parameter ImageId")
        images = self.ec2_backend.describe_images(ami_ids=[image_id])
        if not images:
            # moto raises no error for a deregistered image.
            raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
        return images[0]

    def _complete_root_volume(self) -> None:
        """Add the image's root volume to the request; AwsError when the request asks for a smaller one."""
        image = self._image()
        root = image.block_device_mappings[0]
        mappings = self._get_param("BlockDeviceMappings") or []
        requested = next((mapping for mapping in mappings if mapping.get("DeviceName") == image.root_device_name), None)
        if requested is None:
            self.params["BlockDeviceMappings"] = [*mappings, root]
            return
        volume = requested.setdefault("Ebs", {})
        for key, value in root["Ebs"].items():
            volume.setdefault(key, value)
        if int(volume["VolumeSize"]) < root["Ebs"]["VolumeSize"]:
            raise AwsError(
                "InvalidBlockDeviceMapping",
                f"Volume of size {volume['VolumeSize']}GB is smaller than snapshot '{root['Ebs']['SnapshotId']}', "
                f"expect size >= {root['Ebs']['VolumeSize']}GB",
            )

    def _admit(self, target: Target, zone: str) -> int:
        """How many instances to launch; AwsError when that is less than MinCount."""
        minimum, maximum = int(self._get_param("MinCount", 1)), int(self._get_param("MaxCount", 1))
        instance_type = self._instance_type()
        if target.reservation_id is None:
            if self.world.market.settings.is_out_of_capacity(instance_type):
                raise out_of_capacity(instance_type, zone)
            return self._admit_on_demand(minimum, maximum) if target.market_type is None else maximum
        if (self._get_param("Placement.Tenancy") or "default") != "default":
            raise AwsError("InvalidParameterValue", "Capacity Blocks support default tenancy only.")
        launch = Launch(self._get_param("InstanceType"), zone, minimum, maximum)
        return self.world.market.admit(self.region, target.reservation_id, launch)

    def _admit_on_demand(self, minimum: int, maximum: int) -> int:
        """How many instances the quota allows; AwsError when that is less than MinCount."""
        instance_type = self._instance_type()
        launch = on_demand_quotas.OnDemandLaunch(instance_type, default_vcpus(instance_type), minimum, maximum)
        running = [
            (instance.instance_type, default_vcpus(instance.instance_type))
            for instance in self.ec2_backend.all_running_instances()
            if instance.lifecycle is None
        ]
        return on_demand_quotas.admit(launch, self.world.market.settings.on_demand_quotas, running)

    def _complete(self, instances: list[Any], target: Target) -> None:
        """Set what moto leaves out of new instances, occupy the reservation and launch the hosts."""
        for index, instance in enumerate(instances):
            self._complete_instance(instance, target)
            profile = self._get_param("IamInstanceProfile")
            if index and profile:
                # moto associates the profile with the first instance only.
                self.ec2_backend.associate_iam_instance_profile(
                    instance.id,
                    iam_instance_profile_name=profile.get("Name"),
                    iam_instance_profile_arn=profile.get("Arn"),
                )
        if target.reservation_id:
            self.world.market.occupy(self.region, target.reservation_id, [instance.id for instance in instances])
        for instance in instances:
            self.world.fleet.launch(instance.id, region=self.region, volumes=self.world.data_volumes(instance))

    def _complete_instance(self, instance: Any, target: Target) -> None:
        instance.launch_time = self.world.clock.now().replace(tzinfo=None)
        instance.lifecycle = target.market_type
        instance.disable_api_termination = bool(self._get_param("DisableApiTermination"))
        instance.capacity_reservation_id = target.reservation_id
        instance.capacity_reservation_specification = (
            {"CapacityReservationTarget": {"CapacityReservationId": target.reservation_id}}
            if target.reservation_id
            else {"CapacityReservationPreference": "open"}
        )
        instance.security_groups = instance.security_groups or instance.nics[0].group_set
        instance.nics[0].delete_on_termination = True
        requested = {
            mapping["DeviceName"]: mapping.get("Ebs", {}) for mapping in self._get_param("BlockDeviceMappings")
        }
        for device, attachment in instance.get_block_device_mapping:
            volume = self.ec2_backend.get_volume(attachment.volume_id)
            if volume.volume_type == "gp3":
                volume.iops = requested.get(device, {}).get("Iops") or GP3_IOPS
                volume.throughput = requested.get(device, {}).get("Throughput") or GP3_THROUGHPUT


def merge_template(request: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """The request with the template's values where it has none. Tags are merged; the request's value wins."""
    merged = {**template, **request}
    # moto merges the template's user data itself. Terraform's provider sends "" for none, which moto would keep.
    merged.pop("UserData", None)
    if request.get("UserData"):
        merged["UserData"] = request["UserData"]
    tags: dict[str, dict[str, str]] = {}
    for specification in [*template.get("TagSpecifications", []), *request.get("TagSpecifications", [])]:
        by_key = tags.setdefault(specification["ResourceType"], {})
        by_key.update({tag["Key"]: tag.get("Value", "") for tag in specification.get("Tags", [])})
    if tags:
        merged["TagSpecifications"] = [
            {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in by_key.items()]}
            for kind, by_key in tags.items()
        ]
    return merged
