"""EC2's operations about what is on sale, and where. Rules, and their sources: `rehearsal.offerings`."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult

from rehearsal.ec2_operations import EC2Operations
from rehearsal.errors import AwsError
from rehearsal.instance_types import is_offered
from rehearsal.offerings import Offering, Query


class OfferingOperations(EC2Operations):
    """One method an operation; the names are moto's dispatch rule."""

    def describe_capacity_block_offerings(self) -> ActionResult:
        if self._get_param("UltraserverType"):
            # What an account without UltraServer access is told; the code was not seen, EC2's usual one stands in.
            raise AwsError(
                "UnauthorizedOperation",
                "This AWS Account is not authorized to call DescribeCapacityBlockOfferings API when requesting "
                "an EC2 UltraServer",
            )
        query = Query(
            region=self.region,
            instance_types=self._instance_types(),
            instance_count=self._get_int_param("InstanceCount", 1),
            duration_hours=int(self._get_param("CapacityDurationHours")),
            starts_after=self._instant("StartDateRange"),
            ends_before=self._instant("EndDateRange"),
        )
        found = self.world.market.offerings(query)
        self._dry_run()
        return self._paged("CapacityBlockOfferings", [_offering(one) for one in found])

    def describe_instance_type_offerings(self) -> ActionResult:
        listed = super().describe_instance_type_offerings().result["InstanceTypeOfferings"]
        return ActionResult({"InstanceTypeOfferings": [one for one in listed if is_offered(one)]})

    def _instance_types(self) -> tuple[str, ...]:
        one = self._get_param("InstanceType")
        several = [each["InstanceType"] for each in self._get_param("InstanceTypePreferences", [])]
        if one and several:
            raise AwsError(
                "InvalidParameterCombination",
                "The parameter InstanceType cannot be used with the parameter InstanceTypePreferences",
            )
        return (one,) if one else tuple(several)


def _offering(offering: Offering) -> dict[str, Any]:
    hours, rest = divmod(int(offering.duration.total_seconds()), 3600)
    return {
        "CapacityBlockOfferingId": offering.offering_id,
        "InstanceType": offering.instance_type,
        "AvailabilityZone": offering.zone,
        "InstanceCount": offering.instance_count,
        "StartDate": offering.start,
        "EndDate": offering.end,
        "CapacityBlockDurationHours": hours,
        "CapacityBlockDurationMinutes": rest // 60,
        "UpfrontFee": str(offering.upfront_fee),
        "CurrencyCode": "USD",
        "Tenancy": "default",
    }
