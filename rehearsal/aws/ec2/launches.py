"""RunInstances as EC2 does it where moto doesn't, and the hosts that instances are.

moto ignores most of a launch template and knows no reservations. Here the template is laid under the request,
what EC2 would refuse is refused, and each instance gets a host.

Sources
-------
- A request's values override its template's: EC2 API reference, RunInstances, LaunchTemplate.
- Targeting a block needs the market type (InvalidParameterValue with this text: terraform-aws-modules/
  terraform-aws-ec2-instance 404); a target excludes a preference other than capacity-reservations-only
  (InvalidParameterCombination with this text: gardener/machine-controller-manager-provider-aws 114,
  hashicorp/terraform-provider-aws 43881); the market type needs a target (EC2 user guide, "Launch instances into
  Capacity Blocks"; the code for leaving it out is not published, EC2's general one for such pairs stands in).
- ImageId has to be in the request or its template: botocore's model, RunInstances.ImageId; MissingParameter and
  InvalidAMIID.NotFound: EC2 API reference, "Error codes".
- Blocks have default tenancy only: EC2 user guide, "Capacity Blocks for ML".
- A dry run is answered once the request is known to be one that EC2 takes (floci 3599); that capacity and quotas come
  after it is assumed.
- Idempotency by ClientToken: EC2 developer guide, "Ensuring idempotency".
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.utils import filter_dict_attribute_mapping

from rehearsal.aws.ec2.instance_types import check_offered, out_of_capacity, vcpus_of, zones_offering
from rehearsal.aws.ec2.operations import EC2Operations
from rehearsal.errors import AwsError
from rehearsal.market import on_demand_quotas
from rehearsal.market.capacity_blocks import Launch

CAPACITY_BLOCK = "capacity-block"
GP3_IOPS, GP3_THROUGHPUT = 3000, 125
"""What a gp3 volume has when nothing else is asked: EBS user guide, "General Purpose SSD volumes"."""

# moto's table of the filters that DescribeInstances has lacks this one; `_finish` sets what it reads.
filter_dict_attribute_mapping["capacity-reservation-id"] = "capacity_reservation_id"


@dataclass(frozen=True)
class Target:
    """Where a launch is to run: `reservation_id` None outside any reservation."""

    market_type: str | None
    reservation_id: str | None


class LaunchResponse(EC2Operations):
    """One method an operation; the names are moto's dispatch rule."""

    params: dict[str, Any]

    def run_instances(self) -> ActionResult:
        token = (self.region, self._get_param("ClientToken") or "")
        with self.world.launching:
            if token[1] and token in self.world.launches_by_token:
                return ActionResult(self.world.launches_by_token[token])
            self.params = laid_over(self.params, self._template())
            target = self._target()
            zone = self._place(target)
            check_offered(self.region, zone, self._get_param("InstanceType", "m1.small"))
            self._check_root_volume()
            self._dry_run()
            self.params["MinCount"] = self._admitted(target, zone)
            reservation = super().run_instances().result
            self._finish(reservation.instances, target)
            if token[1]:
                self.world.launches_by_token[token] = reservation
            return ActionResult(reservation)

    def _target(self) -> Target:
        """Where the request wants to run; AwsError for a combination EC2 refuses."""
        specification = self.params.get("CapacityReservationSpecification") or {}
        reservation_id = (specification.get("CapacityReservationTarget") or {}).get("CapacityReservationId")
        if reservation_id and self.world.on_demand.find(self.region, reservation_id):
            raise NotImplementedError("instances on on-demand Capacity Reservations")
        return _target(self.params)

    def stop_instances(self) -> ActionResult:
        self._refuse_with_host("StopInstances")
        return super().stop_instances()

    def start_instances(self) -> ActionResult:
        self._refuse_with_host("StartInstances")
        return super().start_instances()

    def reboot_instances(self) -> ActionResult:
        """Asks for it and answers at once (EC2 API, RebootInstances)."""
        answer: ActionResult = super().reboot_instances()
        for instance_id in self._get_param("InstanceIds", []):
            if self.world.fleet.ready(instance_id) is not None:
                self.world.fleet.reboot_in_background(instance_id)
        return answer

    def create_launch_template(self) -> ActionResult:
        """moto files the template's own tags, and user data not given, under what instances get: drift to a reader."""
        answer = super().create_launch_template()
        template = self.ec2_backend.get_launch_template(answer.result["LaunchTemplate"]["LaunchTemplateId"])
        data = template.latest_version().data
        kept = [one for one in data.get("TagSpecifications", []) if one["ResourceType"] != "launch-template"]
        data["TagSpecifications"] = kept
        if not data.get("TagSpecifications"):
            data.pop("TagSpecifications", None)
        if data.get("UserData") is None or not data["UserData"].decode():
            data.pop("UserData", None)
        return answer

    def _template(self) -> dict[str, Any]:
        chosen = self._get_param("LaunchTemplate")
        if not chosen:
            return {}
        return deepcopy(dict(self.ec2_backend._get_template_from_args(chosen).data))

    def _place(self, target: Target) -> str:
        """The zone of the launch; sees to it that the request names a subnet and, as EC2 would, a security group."""
        subnet_id = self._get_param("SubnetId") or _first(self._get_param("NetworkInterfaces"), "SubnetId")
        if subnet_id is None:
            subnet = self._default_subnet(target)
            nics = self._get_param("NetworkInterfaces")
            (nics[0] if nics else self.params)["SubnetId"] = subnet.id
        else:
            subnet = self.ec2_backend.get_subnet(subnet_id)
        if not (
            self._get_param("SecurityGroupIds")
            or self._get_param("SecurityGroups")
            or self._get_param("NetworkInterfaces")
        ):
            default = self.ec2_backend.get_security_group_from_name("default", vpc_id=subnet.vpc_id)
            self.params["SecurityGroupIds"] = [default.id]
        return str(subnet.availability_zone)

    def _default_subnet(self, target: Target) -> Any:
        """The default VPC's subnet in the zone asked for, else the reservation's, else one that has the type."""
        by_zone = self.ec2_backend.get_default_subnets()
        zone = self._get_param("Placement.AvailabilityZone")
        if zone:
            zones = [zone]
        elif target.reservation_id:
            zones = [self.world.market.block(self.region, target.reservation_id).offering.zone]
        else:
            zones = zones_offering(self.region, self._get_param("InstanceType", "m1.small")) or sorted(by_zone)
        for one in zones:
            if one in by_zone:
                return by_zone[one]
        raise AwsError("MissingInput", f"No default subnet for availability zone: '{', '.join(zones)}'.")

    def _image(self) -> Any:
        """The image asked for; AwsError when neither request nor template names one, or it is not there (any more)."""
        image_id = self._get_param("ImageId")
        if not image_id:
            raise AwsError("MissingParameter", "The request must contain the parameter ImageId")
        found = self.ec2_backend.describe_images(ami_ids=[image_id])
        if not found:
            # moto finds nothing, and says nothing, for one that was deregistered.
            raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
        return found[0]

    def _check_root_volume(self) -> None:
        """AwsError when the root volume asked for is smaller than the image's snapshot; adds one if none is."""
        image = self._image()
        root = image.block_device_mappings[0]
        mappings = self._get_param("BlockDeviceMappings") or []
        asked = next((one for one in mappings if one.get("DeviceName") == image.root_device_name), None)
        if asked is None:
            self.params["BlockDeviceMappings"] = [*mappings, root]
            return
        volume = asked.setdefault("Ebs", {})
        for key, value in root["Ebs"].items():
            volume.setdefault(key, value)
        if int(volume["VolumeSize"]) < root["Ebs"]["VolumeSize"]:
            raise AwsError(
                "InvalidBlockDeviceMapping",
                f"Volume of size {volume['VolumeSize']}GB is smaller than snapshot '{root['Ebs']['SnapshotId']}', "
                f"expect size >= {root['Ebs']['VolumeSize']}GB",
            )

    def _admitted(self, target: Target, zone: str) -> int:
        """How many instances may start; AwsError when that is fewer than asked."""
        least, most = int(self._get_param("MinCount", 1)), int(self._get_param("MaxCount", 1))
        instance_type = self._get_param("InstanceType", "m1.small")
        if target.reservation_id is None and self.world.market.settings.is_out_of(instance_type):
            raise out_of_capacity(instance_type, zone)
        if target.reservation_id is None:
            return self._within_quota(least, most) if target.market_type is None else most
        if (self._get_param("Placement.Tenancy") or "default") != "default":
            raise AwsError("InvalidParameterValue", "Capacity Blocks support default tenancy only.")
        launch = Launch(self._get_param("InstanceType"), zone, least, most)
        return self.world.market.admit(self.region, target.reservation_id, launch)

    def _within_quota(self, least: int, most: int) -> int:
        """How many instances may start on demand; AwsError when that is fewer than asked."""
        instance_type = self._get_param("InstanceType", "m1.small")
        asked = on_demand_quotas.Asked(instance_type, vcpus_of(instance_type), least, most)
        on_demand = [one.instance_type for one in self.ec2_backend.all_running_instances() if one.lifecycle is None]
        running = [(one, vcpus_of(one)) for one in on_demand]
        return on_demand_quotas.admit(asked, self.world.market.settings.on_demand_quotas, running)

    def _finish(self, instances: list[Any], target: Target) -> None:
        """What moto leaves out of new instances: market, reservation, protection, volumes' speed, profiles, hosts."""
        profile = self._get_param("IamInstanceProfile") or {}
        for index, instance in enumerate(instances):
            instance.launch_time = self.world.clock.now().replace(tzinfo=None)
            instance.lifecycle = target.market_type
            instance.disable_api_termination = bool(self._get_param("DisableApiTermination"))
            instance.capacity_reservation_id = target.reservation_id
            instance.capacity_reservation_specification = _specification(target)
            instance.security_groups = instance.security_groups or instance.nics[0].group_set
            instance.nics[0].delete_on_termination = True
            if index and profile:
                self.ec2_backend.associate_iam_instance_profile(
                    instance.id,
                    iam_instance_profile_name=profile.get("Name"),
                    iam_instance_profile_arn=profile.get("Arn"),
                )
            asked = {one["DeviceName"]: one.get("Ebs", {}) for one in self._get_param("BlockDeviceMappings")}
            for device, attachment in instance.get_block_device_mapping:
                volume = self.ec2_backend.get_volume(attachment.volume_id)
                if volume.volume_type == "gp3":
                    volume.iops = asked.get(device, {}).get("Iops") or GP3_IOPS
                    volume.throughput = asked.get(device, {}).get("Throughput") or GP3_THROUGHPUT
        instance_ids = [instance.id for instance in instances]
        if target.reservation_id:
            self.world.market.occupy(self.region, target.reservation_id, instance_ids)
        for instance in instances:
            self.world.fleet.launch(instance.id, region=self.region, volumes=self.world.disks(instance))

    def _refuse_with_host(self, operation: str) -> None:
        for instance_id in self._get_param("InstanceIds", []):
            if self.world.fleet.states().get(instance_id, "none") != "none":
                raise AwsError(
                    "UnsupportedOperation",
                    f"The rehearsal does not model {operation} for an instance with a host.",
                )


def laid_over(request: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """The request with the template under it; tags of both, the request's value where a key is in both."""
    # moto lays the template's user data under the request by itself. Terraform's provider sends an empty one for
    # none, which moto would keep as user data that is empty.
    merged = {**template, **request}
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


def _target(request: Mapping[str, Any]) -> Target:
    """Where the request wants to run; AwsError for a combination EC2 refuses."""
    market_type = (request.get("InstanceMarketOptions") or {}).get("MarketType")
    specification = request.get("CapacityReservationSpecification") or {}
    reservation_id = (specification.get("CapacityReservationTarget") or {}).get("CapacityReservationId")
    preference = specification.get("CapacityReservationPreference")
    if reservation_id and preference not in (None, "capacity-reservations-only"):
        raise AwsError(
            "InvalidParameterCombination",
            "The request can include either a CapacityReservationId or a CapacityReservationPreference but not both.",
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


def _specification(target: Target) -> dict[str, Any]:
    if target.reservation_id is None:
        return {"CapacityReservationPreference": "open"}
    return {"CapacityReservationTarget": {"CapacityReservationId": target.reservation_id}}


def _first(items: list[dict[str, Any]] | None, key: str) -> Any:
    return next((one[key] for one in items or [] if key in one), None)
