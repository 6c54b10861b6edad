"""Where the Neuron instance types are, and what else EC2 checks of a type before a launch.

moto knows every type's description (DescribeInstanceTypes) and, from AWS's own answers, which zones offer it. Two
things are corrected here: the zones of types sold by Capacity Block, which moto lists for whole regions although
blocks were seen in one zone only, and the answer to a type that a zone lacks, which moto never gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES

from rehearsal.errors import AwsError
from rehearsal.market.pools import POOLS

# moto has no Local Zones; this id is as AWS lists it ("Available Local Zones").
_LOCAL_ZONE_IDS: Mapping[str, str] = {"us-east-1-dfw-2a": "use1-dfw2-az1"}

# Only where a block of it can be bought: https://aws.amazon.com/ec2/capacityblocks/pricing/ lists the regions, a
# purchase in sa-east-1 was seen in zone b.
ONLY_ZONES: Mapping[str, frozenset[str]] = {
    "trn2.3xlarge": frozenset(pool.zone for pool in POOLS if pool.instance_type == "trn2.3xlarge")
}


def zones_offering(region: str, instance_type: str) -> list[str]:
    """The zones of `region` that offer `instance_type`, in order; none when the region doesn't."""
    listed = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, [])
    return sorted(one["Location"] for one in listed if one["InstanceType"] == instance_type and is_offered(one))


def is_offered(offering: Mapping[str, Any]) -> bool:
    """Whether an entry of moto's table stands, be it of a region, a zone or a zone id."""
    only = ONLY_ZONES.get(offering["InstanceType"])
    if only is None or offering["LocationType"] == "outpost":
        return True
    if offering["LocationType"] == "availability-zone":
        return offering["Location"] in only
    if offering["LocationType"] == "region":
        return any(zone.startswith(offering["Location"]) for zone in only)
    return offering["Location"] in {zone_id(zone) for zone in only}


def zone_id(zone: str) -> str:
    """The zone's id in this account, as DescribeAvailabilityZones gives it."""
    from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

    if zone in _LOCAL_ZONE_IDS:
        return _LOCAL_ZONE_IDS[zone]
    known = RegionsAndZonesBackend.zones[zone[:-1]]
    return next(str(one.zone_id) for one in known if one.name == zone)


def vcpus_of(instance_type: str) -> int:
    """How many vCPUs an instance of a type has, unless it is told to have fewer."""
    return int(INSTANCE_TYPES[instance_type]["VCpuInfo"]["DefaultVCpus"])


def check_offered(region: str, zone: str, instance_type: str) -> None:
    """AwsError unless `zone` offers `instance_type`.

    Source: EC2 API reference, "Error codes" (InvalidParameterValue for an unknown type, Unsupported for a zone
    that lacks it; its message lists the zones that would do).
    """
    if instance_type not in INSTANCE_TYPES:
        raise AwsError("InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType.")
    offering = zones_offering(region, instance_type)
    if zone in offering:
        return
    choice = f" or choosing {', '.join(offering)}" if offering else ""
    raise AwsError(
        "Unsupported",
        f"Your requested instance type ({instance_type}) is not supported in your requested Availability Zone "
        f"({zone}). Please retry your request by not specifying an Availability Zone{choice}.",
    )


def out_of_capacity(instance_type: str, zone: str) -> AwsError:
    """What EC2 answers when it has no more instances of a type: EC2 API, "Error codes", a server error that clients
    try again (hammertime 29); the text as others saw it (scylla-cluster-tests 5119).
    """
    return AwsError(
        "InsufficientInstanceCapacity",
        f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested "
        f"({zone}). Our system will be working on provisioning additional capacity.",
        status=500,
    )
