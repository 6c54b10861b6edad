"""TerminateInstances, where some are protected or have ended: moto ends those that are named before the first of them,
and then refuses.

Sources
-------
- One protected instance keeps all that are named with it in its zone; those in other zones are terminated, and the
  request is refused all the same. One id that is not there keeps all: botocore's model, TerminateInstances.
- What has ended may be terminated again: the same ("idempotent").
- OperationNotPermitted: EC2 API reference, "Error codes"; the text is moto's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import OperationNotPermitted4

from rehearsal.aws.ec2.operations import EC2Operations

_ENDED = {"Code": 48, "Name": "terminated"}


class TerminationOperations(EC2Operations):
    """One method an operation; the names are moto's dispatch rule."""

    def terminate_instances(self) -> ActionResult:
        self._dry_run()
        # Not while the end of a block takes the same ones: moto can't terminate what has just been.
        with self.world.launching:
            return self._terminate()

    def _terminate(self) -> ActionResult:
        asked = self.ec2_backend.get_multi_instances_by_id(self._get_param("InstanceIds", []))
        living = [one for one in asked if one.state != _ENDED["Name"]]
        protected = [one for one in living if one.disable_api_termination]
        zones = {one.placement.zone for one in protected}
        told = self._terminated([one.id for one in living if one.placement.zone not in zones])
        if protected:
            raise OperationNotPermitted4(protected[0].id)
        ended = [one.id for one in asked if one not in living]
        told += [{"InstanceId": one, "CurrentState": _ENDED, "PreviousState": _ENDED} for one in ended]
        return ActionResult({"TerminatingInstances": told})

    def _terminated(self, instance_ids: Sequence[str]) -> list[dict[str, Any]]:
        """End these with all that they hold; how EC2 tells it."""
        if not instance_ids:
            return []
        self.params = {**self.params, "InstanceIds": list(instance_ids)}
        answer = super().terminate_instances()
        self.world.gone(instance_ids)
        return list(answer.result["TerminatingInstances"])
