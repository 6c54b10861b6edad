"""Pools of Capacity Block capacity: instance types, zones, counts and prices.

Sources
-------
- Regions of trn1 and trn2: https://aws.amazon.com/ec2/capacityblocks/pricing/. Zones are those in which moto knows
  the type, and for trn2.3xlarge the zone of an observed block.
- trn2u.48xlarge is sold as UltraServers only: EC2 returned "not supported for Capacity Blocks" in us-east-2.
  P6e-GB200 UltraServers are in the Local Zone of Dallas: EC2 user guide, "Launch instances using Capacity Blocks".
- Prices: observed for trn2.3xlarge (53.64 USD for 24 h in sa-east-1b) and trn2.48xlarge (858.26 USD for 24 h); from
  the price page for u-p6e-gb200x72 (761.904 USD per hour). The price of trn1.32xlarge is invented at the same scale;
  the price of u-trn2x64 is that of its four instances. Plausible, but not for budgeting.
- Instance counts are invented. In us-west-2, large requests need both zones.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from rehearsal.market.ultraservers import P6E_GB200, TRN2, UltraServer

ZoneType = Literal["availability-zone", "local-zone"]


@dataclass(frozen=True)
class Pool:
    """Capacity of one instance type in one zone. `price`: USD per instance-hour.

    With `ultraserver`, the instances are sold as whole UltraServers only.
    """

    instance_type: str
    region: str
    zone: str
    instances: int
    price: Decimal
    ultraserver: UltraServer | None = None
    zone_type: ZoneType = "availability-zone"


def _pools(instance_type: str, price: str, instances: int, zones: str) -> list[Pool]:
    return [Pool(instance_type, zone[:-1], zone, instances, Decimal(price)) for zone in zones.split()]


POOLS: tuple[Pool, ...] = (
    *_pools("trn2.3xlarge", "2.235", 4, "sa-east-1b ap-southeast-4c"),
    *_pools("trn2.48xlarge", "35.7608", 64, "us-east-2a us-east-2b us-east-2c"),
    *_pools(
        "trn1.32xlarge",
        "9.532",
        64,
        "us-east-1b us-east-1c us-east-1f us-east-2c ap-south-1c ap-southeast-2b ap-southeast-4a",
    ),
    *_pools("trn1.32xlarge", "9.532", 12, "us-west-2b us-west-2d"),
    Pool("trn2u.48xlarge", "us-east-2", "us-east-2c", 16, Decimal("35.7608"), TRN2),
    Pool("p6e-gb200.36xlarge", "us-east-1", "us-east-1-dfw-2a", 36, Decimal("42.328"), P6E_GB200, "local-zone"),
)
