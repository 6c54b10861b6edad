"""The capacity that Capacity Blocks are sold of: which types, where, how much of them, at what price.

Sources
-------
- Where trn1 and trn2 are sold: https://aws.amazon.com/ec2/capacityblocks/pricing/; zones are those moto knows the
  type in, and for trn2.3xlarge the one in which a block was seen.
- trn2u.48xlarge is sold as UltraServers only: it was seen to be "not supported for Capacity Blocks" in us-east-2.
  P6e-GB200 UltraServers are in the Local Zone of Dallas: EC2 user guide, "Launch instances using Capacity Blocks".
- Prices: one was seen for trn2.3xlarge (53.64 USD for 24 h in sa-east-1b), one for trn2.48xlarge (858.26 USD for 24
  h), and the price page gave 761.904 USD an hour for u-p6e-gb200x72. trn1.32xlarge's is made up to the same scale,
  u-trn2x64's is that of its four instances. They are plausible, not to budget with.
- How many instances a pool has is made up. us-west-2 has so few in each of its zones that larger requests need both.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from rehearsal.market.ultraservers import P6E_GB200, TRN2, UltraServer

ZoneType = Literal["availability-zone", "local-zone"]


@dataclass(frozen=True)
class Pool:
    """Capacity of one instance type in one zone: how many instances there are, and USD an instance-hour.

    With an `ultraserver`, they are sold as whole ones of these only.
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
