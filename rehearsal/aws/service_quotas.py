"""Service Quotas as the rehearsal serves it: EC2's quotas for Trn and Inf, and moto's own for VPC.

The errors for an unknown quota (without a text) and an unknown service: aws-cli 6629 and 4569.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.core.responses import ActionResult
from moto.servicequotas.responses import ServiceQuotasResponse

from rehearsal.answers import RehearsalResponse, ServiceError
from rehearsal.errors import AwsError
from rehearsal.market.on_demand_quotas import BLOCK_QUOTAS, QUOTAS, Quota, default_block_quotas, default_quotas

_SERVED_BY_MOTO = "vpc"


class RehearsalServiceQuotas(RehearsalResponse, ServiceQuotasResponse):  # type: ignore[misc] # moto has no types
    """Bound to a world by `rehearsal.services`."""

    refusal = ServiceError

    def get_service_quota(self) -> Any:
        settings = self.world.market.settings
        return self._quota({**settings.on_demand_quotas, **settings.capacity_block_quotas})

    def get_aws_default_service_quota(self) -> Any:
        """The default, whatever the account was granted since. moto's quotas are always the defaults."""
        return self._quota({**default_quotas(), **default_block_quotas()})

    def _quota(self, values: Mapping[str, float]) -> Any:
        parameters = self._json_members()
        service, code = parameters.get("ServiceCode"), parameters.get("QuotaCode")
        if service == _SERVED_BY_MOTO:
            return super().get_service_quota()
        if service != "ec2":
            raise AwsError(
                "NoSuchResourceException", "The request failed because the specified service does not exist."
            )
        for quota in (*QUOTAS, *BLOCK_QUOTAS):
            if quota.code == code:
                return ActionResult({"Quota": self._shape(quota, values[quota.family])})
        raise AwsError("NoSuchResourceException", "")

    def _shape(self, quota: Quota, value: float) -> dict[str, Any]:
        return {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaArn": f"arn:aws:servicequotas:{self.region}:{self.current_account}:ec2/{quota.code}",
            "QuotaCode": quota.code,
            "QuotaName": quota.name,
            "Value": float(value),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
            "QuotaAppliedAtLevel": "ACCOUNT",
        }
