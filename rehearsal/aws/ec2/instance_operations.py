"""Terminating, stopping, starting and rebooting instances, together with their hosts.

moto terminates every instance named before the first protected one, and then refuses.

Sources
-------
- A protected instance keeps all instances named with it in its zone; those in other zones are terminated, and the
  request is refused. An unknown id keeps all of them: botocore's model, TerminateInstances.
- Terminating a terminated instance succeeds: the same ("idempotent").
- OperationNotPermitted: EC2 API reference, "Error codes"; the text is moto's.
- RebootInstances only queues the reboot: EC2 API reference, RebootInstances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import OperationNotPermitted4

from rehearsal.aws.ec2.operations import EC2Operations
from rehearsal.errors import AwsError

_TERMINATED = {"Code": 48, "Name": "terminated"}


class InstanceOperations(EC2Operations):
    """Operations on existing instances; moto dispatches by method name."""

    def terminate_instances(self) -> ActionResult:
        self._dry_run()
        # The end of a block may terminate the same instances at the same time, which moto can't handle.
        with self.world.launching:
            return self._terminate()

    def stop_instances(self) -> ActionResult:
        self._refuse_with_host("StopInstances")
        return super().stop_instances()

    def start_instances(self) -> ActionResult:
        self._refuse_with_host("StartInstances")
        return super().start_instances()

    def reboot_instances(self) -> ActionResult:
        result: ActionResult = super().reboot_instances()
        for instance_id in self._get_param("InstanceIds", []):
            if self.world.fleet.ready(instance_id) is not None:
                self.world.fleet.reboot_in_background(instance_id)
        return result

    def _terminate(self) -> ActionResult:
        instances = self.ec2_backend.get_multi_instances_by_id(self._get_param("InstanceIds", []))
        alive = [instance for instance in instances if instance.state != _TERMINATED["Name"]]
        protected = [instance for instance in alive if instance.disable_api_termination]
        zones = {instance.placement.zone for instance in protected}
        changes = self._terminate_alive([instance.id for instance in alive if instance.placement.zone not in zones])
        if protected:
            raise OperationNotPermitted4(protected[0].id)
        changes += [
            {"InstanceId": instance.id, "CurrentState": _TERMINATED, "PreviousState": _TERMINATED}
            for instance in instances
            if instance not in alive
        ]
        return ActionResult({"TerminatingInstances": changes})

    def _terminate_alive(self, instance_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Terminate instances and release what they hold; returns their state changes in EC2's shape."""
        if not instance_ids:
            return []
        self.params = {**self.params, "InstanceIds": list(instance_ids)}
        result = super().terminate_instances()
        self.world.release(instance_ids)
        return list(result.result["TerminatingInstances"])

    def _refuse_with_host(self, operation: str) -> None:
        for instance_id in self._get_param("InstanceIds", []):
            if self.world.fleet.states().get(instance_id, "none") != "none":
                raise AwsError(
                    "UnsupportedOperation",
                    f"The rehearsal does not model {operation} for an instance with a host.",
                )
