"""Which zones offer the Neuron instance types, and EC2's errors about instance types and capacity.

moto knows every type's description (DescribeInstanceTypes) and, from AWS's own responses, which zones offer it. Two
things are corrected here: the zones of types sold by Capacity Block, which moto lists for whole regions although
blocks were seen in one zone only, and the error for a type that a zone does not offer, which moto never raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES

from rehearsal.errors import AwsError
from rehearsal.market.pools import POOLS

# moto has no Local Zones; AWS lists this id in "Available Local Zones".
_LOCAL_ZONE_IDS: Mapping[str, str] = {"us-east-1-dfw-2a": "use1-dfw2-az1"}

# Zones where a block can be bought: https://aws.amazon.com/ec2/capacityblocks/pricing/ lists the regions; a purchase
# in sa-east-1 was seen in zone b.
BLOCK_ZONES: Mapping[str, frozenset[str]] = {
    "trn2.3xlarge": frozenset(pool.zone for pool in POOLS if pool.instance_type == "trn2.3xlarge")
}


def zones_offering(region: str, instance_type: str) -> list[str]:
    """The zones of `region` that offer `instance_type`, sorted."""
    offerings = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, [])
    return sorted(
        offering["Location"]
        for offering in offerings
        if offering["InstanceType"] == instance_type and is_offered(offering)
    )


def is_offered(offering: Mapping[str, Any]) -> bool:
    """Whether an entry of moto's offerings (for a region, a zone or a zone id) is correct."""
    zones = BLOCK_ZONES.get(offering["InstanceType"])
    if zones is None or offering["LocationType"] == "outpost":
        return True
    if offering["LocationType"] == "availability-zone":
        return offering["Location"] in zones
    if offering["LocationType"] == "region":
        return any(zone.startswith(offering["Location"]) for zone in zones)
    return offering["Location"] in {zone_id(zone) for zone in zones}


def zone_id(zone_name: str) -> str:
    """The zone's id in this account, as in DescribeAvailabilityZones."""
    from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

    if zone_name in _LOCAL_ZONE_IDS:
        return _LOCAL_ZONE_IDS[zone_name]
    zones = RegionsAndZonesBackend.zones[zone_name[:-1]]
    return next(str(zone.zone_id) for zone in zones if zone.name == zone_name)


def default_vcpus(instance_type: str) -> int:
    return int(INSTANCE_TYPES[instance_type]["VCpuInfo"]["DefaultVCpus"])


def check_offered(region: str, zone: str, instance_type: str) -> None:
    """AwsError unless `zone` offers `instance_type`.

    Source: EC2 API reference, "Error codes" (InvalidParameterValue for an unknown type, Unsupported for a zone
    without the type; its message lists the zones that offer it).
    """
    if instance_type not in INSTANCE_TYPES:
        raise AwsError("InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType.")
    zones = zones_offering(region, instance_type)
    if zone in zones:
        return
    alternatives = f" or choosing {', '.join(zones)}" if zones else ""
    raise AwsError(
        "Unsupported",
        f"Your requested instance type ({instance_type}) is not supported in your requested Availability Zone "
        f"({zone}). Please retry your request by not specifying an Availability Zone{alternatives}.",
    )


def out_of_capacity(instance_type: str, zone: str) -> AwsError:
    """EC2's error when it has no more instances of a type.

    Sources: EC2 API, "Error codes"; a server error, which clients retry (hammertime 29); the text:
    scylla-cluster-tests 5119.
    """
    return AwsError(
        "InsufficientInstanceCapacity",
        f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested "
        f"({zone}). Our system will be working on provisioning additional capacity.",
        status=500,
    )
