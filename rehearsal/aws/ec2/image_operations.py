"""Images made of others and of instances, which moto says are of a kind of root device that EC2 does not have.

All that there is here is backed by EBS (`neuron_images`, `launches`), and so is what is made of it: EC2 API reference,
Image, `rootDeviceType`.
"""

from __future__ import annotations

from moto.core.responses import ActionResult

from rehearsal.aws.ec2.operations import EC2Operations


class ImageOperations(EC2Operations):
    """One method an operation; the names are moto's dispatch rule."""

    def copy_image(self) -> ActionResult:
        self._dry_run()
        return self._backed_by_ebs(super().copy_image())

    def create_image(self) -> ActionResult:
        self._dry_run()
        return self._backed_by_ebs(super().create_image())

    def _backed_by_ebs(self, answer: ActionResult) -> ActionResult:
        self.ec2_backend.amis[answer.result["ImageId"]].root_device_type = "ebs"
        return answer
