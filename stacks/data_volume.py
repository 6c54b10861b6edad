"""A data volume for each machine's home folder, which outlives the machine.

EC2 terminates an instance when its Capacity Block ends, and deletes its root volume. The data volume is then attached
to the next machine in the same zone.
"""

from __future__ import annotations

from collections.abc import Mapping

from constructs import Construct

from stacks.machine import Machines, counterpart, every
from stacks.provider import EbsVolume, VolumeAttachment

# Required by EC2. Nitro instances have NVMe device names; the setup finds the device by the volume id.
_DEVICE = "/dev/sdf"


class DataVolumes(Construct):
    """`count` volumes of `size` GiB in `zone`. `ids` is a reference to the list of their ids.

    They do not depend on the machines, so that `destroy` can keep them.
    """

    def __init__(
        self, scope: Construct, name: str, *, count: int, size: int, zone: str, tags: Mapping[str, str]
    ) -> None:
        super().__init__(scope, name)
        self._count = count
        self._volume = EbsVolume(
            self,
            "volume",
            count=count,
            availability_zone=zone,
            size=size,
            type="gp3",
            encrypted=True,
            tags=dict(tags),
        )
        self._volume.override_logical_id("data")
        self.ids = every(self._volume, "id")

    def attach_to(self, machines: Machines) -> VolumeAttachment:
        """Attach each volume to the machine with the same index."""
        attachment = VolumeAttachment(
            self,
            "attachment",
            count=self._count,
            device_name=_DEVICE,
            volume_id=counterpart(self._volume, "id"),
            instance_id=counterpart(machines.instance, "id"),
            # Detaching a mounted volume hangs, or loses data if forced. Terminating the machine detaches it.
            skip_destroy=True,
        )
        attachment.override_logical_id("data")
        return attachment
