"""Systems Manager's service settings, which moto lacks: Default Host Management Configuration, and nothing else.

It is off, which is the value "$None", until it is set (Systems Manager user guide, "Managing EC2 instances
automatically with Default Host Management Configuration"; the value: SSM API reference, GetServiceSetting). What it
does to instances without a profile is not modelled.
"""

from __future__ import annotations

from moto.core.responses import ActionResult
from moto.ssm.responses import SimpleSystemManagerResponse

from rehearsal.answers import RehearsalResponse
from rehearsal.errors import AwsError

DEFAULT_ROLE = "/ssm/managed-instance/default-ec2-instance-management-role"


class ServiceSettingResponse(RehearsalResponse, SimpleSystemManagerResponse):  # type: ignore[misc] # moto has no types
    """One method an operation; the names are moto's dispatch rule."""

    def get_service_setting(self) -> ActionResult:
        asked = self._get_param("SettingId")
        if asked != DEFAULT_ROLE:
            raise AwsError("ServiceSettingNotFound", f"The service setting {asked} does not exist.")
        setting = {"SettingId": DEFAULT_ROLE, "SettingValue": "$None", "Status": "Default"}
        return ActionResult({"ServiceSetting": setting})
