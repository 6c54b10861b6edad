"""A volume of its own for each machine's home folder, which outlives the machine.

The root volume goes with its instance, and an instance goes with its Capacity Block. What a person works on stays
here, and is attached to the next machine in the same zone.
"""

from __future__ import annotations

from collections.abc import Mapping

from constructs import Construct

from stacks.machine import Machines, every, same
from stacks.provider import EbsVolume, VolumeAttachment

# Of no meaning on the machine: Nitro instances see NVMe devices, and the setup finds this one by the volume's id.
_DEVICE = "/dev/sdf"


class DataVolumes(Construct):
    """`count` volumes of `size` GiB in `zone`. `ids` is a reference to their list.

    They depend on nothing that a removal of the machines removes, so `destroy` can leave them.
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
        """The first volume to the first machine, and so on."""
        attachment = VolumeAttachment(
            self,
            "attachment",
            count=self._count,
            device_name=_DEVICE,
            volume_id=same(self._volume, "id"),
            instance_id=same(machines.instance, "id"),
            # A volume is mounted until its machine ends, and EC2 detaches no mounted volume: it would hang, or tear
            # it off when forced. Ending the machine detaches it.
            skip_destroy=True,
        )
        attachment.override_logical_id("data")
        return attachment
