"""Service Quotas as the rehearsal serves it: the quotas of EC2 for Trn and Inf, beside moto's few.

An unknown quota is refused without a text, an unknown service with this one: aws-cli 6629 and 4569.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.servicequotas.responses import ServiceQuotasResponse

from rehearsal.answers import RehearsalResponse
from rehearsal.errors import AwsError
from rehearsal.market.on_demand_quotas import BLOCK_QUOTAS, QUOTAS, Quota, at_first, blocks_at_first

_MOTOS = "vpc"


class _Refusal(ServiceException):  # type: ignore[misc] # moto has no types
    """moto's own exception of this service is not one that is written by the service model."""


class RehearsalServiceQuotas(RehearsalResponse, ServiceQuotasResponse):  # type: ignore[misc] # moto has no types
    """Bound to a world by `rehearsal.server`."""

    refusal = _Refusal

    def get_service_quota(self) -> Any:
        settings = self.world.market.settings
        return self._told({**settings.on_demand_quotas, **settings.capacity_block_quotas})

    def get_aws_default_service_quota(self) -> Any:
        """Whatever was granted since. moto's few are as at first in any case."""
        return self._told({**at_first(), **blocks_at_first()})

    def _told(self, values: Mapping[str, float]) -> Any:
        asked = self._given_json()
        service, code = asked.get("ServiceCode"), asked.get("QuotaCode")
        if service == _MOTOS:
            return super().get_service_quota()
        if service != "ec2":
            raise AwsError(
                "NoSuchResourceException", "The request failed because the specified service does not exist."
            )
        for quota in (*QUOTAS, *BLOCK_QUOTAS):
            if quota.code == code:
                return ActionResult({"Quota": self._shown(quota, values[quota.family])})
        raise AwsError("NoSuchResourceException", "")

    def _shown(self, quota: Quota, value: float) -> dict[str, Any]:
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
