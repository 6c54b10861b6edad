"""EBS volumes: EC2's checks that moto lacks, and the disks of hosts.

Sources
-------
- A volume and its instance must be in one zone (InvalidVolume.ZoneMismatch with this text:
  kubernetes-sigs/aws-ebs-csi-driver 52, linuxkit/linuxkit 2388).
- A volume is attached once, a device name is used once, the instance must be running or stopped: EC2 API,
  AttachVolume and error codes; texts of the latter two assumed.
- A mounted volume is `busy` until it is unmounted: EC2 API, DetachVolume. The root volume of a running instance can't
  be detached: the same; code assumed.
- Detaching a volume that is not attached is an IncorrectState: EC2 API, error codes; text assumed.
- The zone of a new volume must exist: EC2 API, error codes.
- A volume can't shrink: EC2 API, ModifyVolume; text assumed.
"""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult

from rehearsal.aws.ec2.launches import GP3_THROUGHPUT
from rehearsal.aws.ec2.operations import EC2Operations
from rehearsal.errors import AwsError
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.volumes import Volume


class VolumeOperations(EC2Operations):
    """Operations on EBS volumes; moto dispatches by method name."""

    def create_volume(self) -> ActionResult:
        zone = self._get_param("AvailabilityZone")
        if zone and self.ec2_backend.get_zone_by_name(zone) is None:
            raise AwsError("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
        result: ActionResult = super().create_volume()
        volume = result.result
        if volume.volume_type == "gp3":
            volume.throughput = volume.throughput or GP3_THROUGHPUT
        return result

    def attach_volume(self) -> ActionResult:
        """Attach and return once the host has the disk, which takes until the host has booted."""
        self._dry_run()
        with self.world.launching:
            volume = self.ec2_backend.get_volume(self._get_param("VolumeId"))
            instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
            _check_attachable(volume, instance, self._get_param("Device"))
            result: ActionResult = super().attach_volume()
        try:
            self.world.fleet.attach(instance.id, self._disk(volume))
        except HostError as error:
            if volume.attachment is not None:
                self.ec2_backend.detach_volume(volume.id, instance.id, volume.attachment.device)
            raise AwsError("UnsupportedOperation", f"The rehearsal can't attach the volume: {error}") from error
        return result

    def detach_volume(self) -> ActionResult:
        self._dry_run()
        volume = self.ec2_backend.get_volume(self._get_param("VolumeId"))
        attachment = volume.attachment
        if attachment is None:
            raise AwsError("IncorrectState", f"Volume '{volume.id}' is in the 'available' state.")
        instance = attachment.instance
        self._check_attachment(volume)
        if attachment.device == instance.root_device_name:
            raise AwsError(
                "OperationNotPermitted", f"Unable to detach root volume '{volume.id}' from instance '{instance.id}'"
            )
        if not self.world.fleet.detach(instance.id, self._disk(volume)):
            if self._get_param("Force"):
                raise NotImplementedError("DetachVolume with Force of a mounted volume")
            attachment.status = "busy"
            return ActionResult(_attachment_shape(attachment, "busy"))
        self.ec2_backend.detach_volume(volume.id, instance.id, attachment.device)
        return ActionResult(_attachment_shape(attachment, "detaching"))

    def delete_volume(self) -> ActionResult:
        result: ActionResult = super().delete_volume()
        self.world.drop_deleted_volumes()
        return result

    def modify_volume(self) -> ActionResult:
        volume = self.ec2_backend.get_volume(self._get_param("VolumeId"))
        if self._get_int_param("Size", volume.size) < volume.size:
            raise AwsError("InvalidParameterValue", "New size cannot be smaller than existing size")
        result: ActionResult = super().modify_volume()
        self._disk(volume).grow(volume.size)
        return result

    def describe_volumes(self) -> ActionResult:
        """Detach busy volumes that have been unmounted since, which shows only here, then describe all."""
        self._dry_run()
        for volume in list(self.ec2_backend.volumes.values()):
            attachment = volume.attachment
            if attachment is not None and attachment.status == "busy":
                instance_id = attachment.instance.id
                if self.world.fleet.detach(instance_id, self._disk(volume)):
                    self.ec2_backend.detach_volume(volume.id, instance_id, attachment.device)
        return super().describe_volumes()

    def _check_attachment(self, volume: Any) -> None:
        """AwsError when the request names another instance or device than the volume's."""
        attached = {"InstanceId": volume.attachment.instance.id, "Device": volume.attachment.device}
        for parameter, value in attached.items():
            if self._get_param(parameter) not in (None, value):
                raise AwsError(
                    "InvalidAttachment.NotFound",
                    f"The volume '{volume.id}' is not attached to {self._get_param(parameter)}.",
                )

    def _disk(self, volume: Any) -> Volume:
        return self.world.volumes.get(volume.id, volume.size)


def _check_attachable(volume: Any, instance: Any, device: str) -> None:
    """AwsError when EC2 would refuse to attach the volume to the instance."""
    if volume.availability_zone != instance.placement.zone:
        raise AwsError(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
        )
    if volume.attachment is not None:
        raise AwsError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if instance.state not in ("running", "stopped"):
        raise AwsError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if device in instance.block_device_mapping:
        raise AwsError(
            "InvalidParameterValue",
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
        )


def _attachment_shape(attachment: Any, state: str) -> dict[str, Any]:
    return {
        "VolumeId": attachment.volume.id,
        "InstanceId": attachment.instance.id,
        "Device": attachment.device,
        "State": state,
        "AttachTime": attachment.attach_time,
    }
