"""Which regions the rehearsal's account may use. moto lists all that AWS has, whatever is asked.

Sources
-------
- The regions of the account's own partition only: AWS General Reference, "Amazon Resource Names", partitions.
- Without `AllRegions`, DescribeRegions lists the enabled ones; those named are listed in any case: EC2 API reference.
- Regions opened after March 20, 2019 have to be opted in to: AWS Account Management reference, "Enable or disable AWS
  Regions in your account". moto takes three of them for old ones.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
from moto.utilities.utils import get_partition

OPTED_IN = frozenset({"ap-southeast-4"})
"""Of the optional regions, those this account has enabled: blocks of trn2.3xlarge are sold there."""

_OPTIONAL_FOR_MOTO_NOT = frozenset({"af-south-1", "ap-southeast-3", "eu-south-1"})


def listed(asked_in: str, names: Collection[str], *, everything: bool) -> list[dict[str, Any]]:
    """EC2's shapes of the regions: those named, or the enabled ones, or with `everything` all.

    Of the partition that the region `asked_in` is in.
    """
    partition = get_partition(asked_in)
    found = [_shape(one) for one in RegionsAndZonesBackend.regions if get_partition(one.name) == partition]
    if names:
        return [one for one in found if one["RegionName"] in names]
    return [one for one in found if everything or one["OptInStatus"] != "not-opted-in"]


def _shape(region: Any) -> dict[str, Any]:
    optional = region.name in _OPTIONAL_FOR_MOTO_NOT or region.opt_in_status != "opt-in-not-required"
    status = "opted-in" if region.name in OPTED_IN else "not-opted-in" if optional else "opt-in-not-required"
    return {"RegionName": region.name, "Endpoint": region.endpoint, "OptInStatus": status}
