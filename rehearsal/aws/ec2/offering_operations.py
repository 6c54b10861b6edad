"""EC2's operations about offerings and regions. Rules and sources for offerings: `rehearsal.market.offerings`.

Sources for DescribeRegions, for which moto lists all of AWS's regions
----------------------------------------------------------------------
- Only regions of the account's own partition: AWS General Reference, "Amazon Resource Names", partitions.
- Without `AllRegions` the enabled regions are listed; named regions in any case: EC2 API reference.
- Regions launched after March 20, 2019 are opt-in: AWS Account Management reference, "Enable or disable AWS Regions in
  your account". moto has three of them as not opt-in.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
from moto.utilities.utils import get_partition

from rehearsal.aws.ec2.instance_types import is_offered, zone_id
from rehearsal.aws.ec2.operations import EC2Operations
from rehearsal.errors import AwsError
from rehearsal.market.offerings import Offering, Query

OPTED_IN = frozenset({"ap-southeast-4"})
"""The opt-in regions that this account has enabled: blocks of trn2.3xlarge are sold there."""
_OPT_IN_MISSING_IN_MOTO = frozenset({"af-south-1", "ap-southeast-3", "eu-south-1"})
_REGION_FILTERS = {"endpoint": "Endpoint", "opt-in-status": "OptInStatus", "region-name": "RegionName"}


class OfferingOperations(EC2Operations):
    """Operations that look up what AWS sells, and where; moto dispatches by method name."""

    def describe_capacity_block_offerings(self) -> ActionResult:
        ultraserver_type = self._ultraserver_type()
        query = Query(
            region=self.region,
            instance_types=() if ultraserver_type else self._instance_types(),
            count=self._get_int_param("UltraserverCount" if ultraserver_type else "InstanceCount", 1),
            duration_hours=int(self._get_param("CapacityDurationHours")),
            starts_after=self._timestamp("StartDateRange"),
            ends_before=self._timestamp("EndDateRange"),
            ultraserver_type=ultraserver_type,
            all_zones=bool(self._get_param("AllAvailabilityZones")),
        )
        offerings = self.world.market.offerings(query)
        self._dry_run()
        return self._paged("CapacityBlockOfferings", [_offering_shape(offering) for offering in offerings])

    def describe_instance_type_offerings(self) -> ActionResult:
        self._dry_run()
        offerings = super().describe_instance_type_offerings().result["InstanceTypeOfferings"]
        return ActionResult({"InstanceTypeOfferings": [offering for offering in offerings if is_offered(offering)]})

    def describe_regions(self) -> ActionResult:
        self._dry_run()
        names, list_all = self._get_param("RegionNames", []), self._get_param("AllRegions")
        partition = get_partition(self.region)
        regions = [
            _region_shape(region)
            for region in RegionsAndZonesBackend.regions
            if get_partition(region.name) == partition
        ]
        if names:
            regions = [region for region in regions if region["RegionName"] in names]
        elif not list_all:
            regions = [region for region in regions if region["OptInStatus"] != "not-opted-in"]
        return ActionResult({"Regions": self._filtered(regions, _REGION_FILTERS)})

    def _ultraserver_type(self) -> str:
        """The requested type of UltraServer; "" when the request is about instances."""
        name: str = self._get_param("UltraserverType") or ""
        if name and not self.world.market.settings.ultraservers:
            # AWS's text for an account without UltraServer access; the code was not seen, EC2's usual one is used.
            raise AwsError(
                "UnauthorizedOperation",
                "This AWS Account is not authorized to call DescribeCapacityBlockOfferings API when requesting "
                "an EC2 UltraServer",
            )
        # Assumed: EC2's documentation has instance type and UltraServer type as alternatives.
        for other in ("InstanceType", "InstanceTypePreferences"):
            if name and self._get_param(other):
                raise _exclusive("UltraserverType", other)
        return name

    def _instance_types(self) -> tuple[str, ...]:
        instance_type = self._get_param("InstanceType")
        preferences = [preference["InstanceType"] for preference in self._get_param("InstanceTypePreferences", [])]
        if instance_type and preferences:
            raise _exclusive("InstanceType", "InstanceTypePreferences")
        return (instance_type,) if instance_type else tuple(preferences)


def _exclusive(parameter: str, other: str) -> AwsError:
    return AwsError(
        "InvalidParameterCombination", f"The parameter {parameter} cannot be used with the parameter {other}"
    )


def _region_shape(region: Any) -> dict[str, Any]:
    is_opt_in = region.name in _OPT_IN_MISSING_IN_MOTO or region.opt_in_status != "opt-in-not-required"
    status = "opted-in" if region.name in OPTED_IN else "not-opted-in" if is_opt_in else "opt-in-not-required"
    return {"RegionName": region.name, "Endpoint": region.endpoint, "OptInStatus": status}


def _offering_shape(offering: Offering) -> dict[str, Any]:
    shape = {"CapacityBlockOfferingId": offering.offering_id, **_common_shape(offering), "Tenancy": "default"}
    if offering.segments:
        # Assumed: zones are given for each segment only.
        return {**shape, "CapacityBlockOfferingSegments": [_segment_shape(segment) for segment in offering.segments]}
    shape.update(AvailabilityZone=offering.zone, ZoneType=offering.zone_type)
    if offering.ultraserver_type:
        shape.update(UltraserverType=offering.ultraserver_type, UltraserverCount=offering.ultraserver_count)
    return shape


def _segment_shape(segment: Offering) -> dict[str, Any]:
    zone = {"AvailabilityZone": segment.zone, "AvailabilityZoneId": zone_id(segment.zone)}
    return {**_common_shape(segment), **zone, "ZoneType": segment.zone_type}


def _common_shape(offering: Offering) -> dict[str, Any]:
    """What offerings and segments have in common."""
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
