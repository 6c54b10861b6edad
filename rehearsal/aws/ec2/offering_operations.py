"""EC2's operations about what is on sale, and where. Rules, and their sources: `rehearsal.market.offerings`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from moto.core.responses import ActionResult

from rehearsal.aws import regions
from rehearsal.aws.ec2.instance_types import is_offered, zone_id
from rehearsal.aws.ec2.operations import EC2Operations
from rehearsal.errors import AwsError
from rehearsal.market.offerings import Offering, Query


class OfferingOperations(EC2Operations):
    """One method an operation; the names are moto's dispatch rule."""

    def describe_capacity_block_offerings(self) -> ActionResult:
        market = self.world.market
        ultraserver_type = self._ultraserver_type()
        query = Query(
            region=self.region,
            instance_types=() if ultraserver_type else self._instance_types(),
            count=self._get_int_param("UltraserverCount" if ultraserver_type else "InstanceCount", 1),
            duration_hours=int(self._get_param("CapacityDurationHours")),
            starts_after=self._instant("StartDateRange"),
            ends_before=self._instant("EndDateRange"),
            ultraserver_type=ultraserver_type,
            all_zones=bool(self._get_param("AllAvailabilityZones")),
        )
        found = market.offerings(query)
        self._dry_run()
        return self._paged("CapacityBlockOfferings", [_offering(one) for one in found])

    def describe_instance_type_offerings(self) -> ActionResult:
        self._dry_run()
        listed = super().describe_instance_type_offerings().result["InstanceTypeOfferings"]
        return ActionResult({"InstanceTypeOfferings": [one for one in listed if is_offered(one)]})

    def describe_regions(self) -> ActionResult:
        self._dry_run()
        names = self._get_param("RegionNames", [])
        found = regions.listed(self.region, names, everything=bool(self._get_param("AllRegions")))
        return ActionResult({"Regions": self._filtered(found, REGION_FILTERS)})

    def _ultraserver_type(self) -> str:
        """The type of UltraServer asked for, empty when the request is about instances."""
        name: str = self._get_param("UltraserverType") or ""
        if name and not self.world.market.settings.ultraservers:
            # What an account without UltraServer access is told; the code was not seen, EC2's usual one stands in.
            raise AwsError(
                "UnauthorizedOperation",
                "This AWS Account is not authorized to call DescribeCapacityBlockOfferings API when requesting "
                "an EC2 UltraServer",
            )
        # Assumed: EC2's documentation has instance type and UltraServer type as alternatives.
        for other in ("InstanceType", "InstanceTypePreferences"):
            if name and self._get_param(other):
                raise AwsError(
                    "InvalidParameterCombination",
                    f"The parameter UltraserverType cannot be used with the parameter {other}",
                )
        return name

    def _instance_types(self) -> tuple[str, ...]:
        one = self._get_param("InstanceType")
        several = [each["InstanceType"] for each in self._get_param("InstanceTypePreferences", [])]
        if one and several:
            raise AwsError(
                "InvalidParameterCombination",
                "The parameter InstanceType cannot be used with the parameter InstanceTypePreferences",
            )
        return (one,) if one else tuple(several)


REGION_FILTERS = {"endpoint": "Endpoint", "opt-in-status": "OptInStatus", "region-name": "RegionName"}


def _offering(offering: Offering) -> dict[str, Any]:
    shape = {"CapacityBlockOfferingId": offering.offering_id, **_what(offering), "Tenancy": "default"}
    if offering.segments:
        # Assumed: what the segments don't share is said of each of them only.
        return {**shape, "CapacityBlockOfferingSegments": [_segment(one) for one in offering.segments]}
    shape.update(AvailabilityZone=offering.zone, ZoneType=offering.zone_type)
    if offering.ultraserver_type:
        shape.update(UltraserverType=offering.ultraserver_type, UltraserverCount=offering.ultraserver_count)
    return shape


def _segment(segment: Offering) -> dict[str, Any]:
    where = {"AvailabilityZone": segment.zone, "AvailabilityZoneId": zone_id(segment.zone)}
    return {**_what(segment), **where, "ZoneType": segment.zone_type}


def _what(offering: Offering) -> dict[str, Any]:
    """What offerings and segments say alike."""
    hours, rest = divmod(offering.duration, timedelta(hours=1))
    return {
        "InstanceType": offering.instance_type,
        "InstanceCount": offering.instance_count,
        "StartDate": offering.start,
        "EndDate": offering.end,
        "CapacityBlockDurationHours": hours,
        "CapacityBlockDurationMinutes": rest // timedelta(minutes=1),
        "UpfrontFee": str(offering.upfront_fee),
        "CurrencyCode": "USD",
    }
