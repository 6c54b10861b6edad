"""The Capacity Blocks on sale: which types, where, when and at what price. Pure: no moto, no clock.

Sources
-------
- Durations, counts and windows: EC2 user guide, "Find and purchase Capacity Blocks": one-day steps to 14
  days, seven-day steps to 182; at most 64 instances; every block ends at 11:30 UTC; up to six are shown.
- Earliest start 30 minutes ahead, latest 8 weeks: EC2 user guide, "Capacity Blocks for ML".
- Error codes: EC2 API reference, "Error codes" (InvalidCapacityBlockOfferingId*), and the text EC2 was seen to
  send for an unsupported type ("is not supported for Capacity Blocks in").
- Prices: one was seen for trn2.3xlarge (53.64 USD for 24 h in sa-east-1b) and one for trn2.48xlarge (858.26
  USD for 24 h); trn1.32xlarge's is made up to the same scale. They are plausible, not to budget with.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal

from rehearsal.errors import AwsError

END_OF_DAY = time(11, 30, tzinfo=timezone.utc)
LEAD_TIME = timedelta(minutes=30)
HORIZON = timedelta(weeks=8)
MOST_SHOWN = 6
MOST_INSTANCES = 64
MOST_TYPES = 10
LONGEST_DAYS = 182
OFFERING_ID = re.compile(r"cb-[0-9a-f]{17}")


@dataclass(frozen=True)
class Pool:
    """Capacity of one instance type in one zone: how many instances there are, and USD an instance-hour."""

    instance_type: str
    region: str
    zone: str
    instances: int
    price: Decimal


def _pools(instance_type: str, price: str, instances: int, zones: str) -> list[Pool]:
    return [Pool(instance_type, zone[:-1], zone, instances, Decimal(price)) for zone in zones.split()]


POOLS: tuple[Pool, ...] = (
    *_pools("trn2.3xlarge", "2.235", 4, "sa-east-1b ap-southeast-4c"),
    *_pools("trn2.48xlarge", "35.7608", 64, "us-east-2a us-east-2b us-east-2c"),
    *_pools(
        "trn1.32xlarge",
        "9.532",
        64,
        "us-east-1b us-east-1c us-east-1f us-east-2c us-west-2b us-west-2d ap-south-1c ap-southeast-2b ap-southeast-4a",
    ),
)


@dataclass(frozen=True)
class Offering:
    """A block that can be bought. Dates are UTC; the fee is for the whole block, in USD."""

    offering_id: str
    region: str
    zone: str
    instance_type: str
    instance_count: int
    start: datetime
    end: datetime
    upfront_fee: Decimal

    @property
    def duration(self) -> timedelta:
        return self.end - self.start

    def overlaps(self, other: Offering) -> bool:
        """Whether both need the same pool at the same time."""
        same_pool = (self.zone, self.instance_type) == (other.zone, other.instance_type)
        return same_pool and self.start < other.end and other.start < self.end


@dataclass(frozen=True)
class Query:
    """What DescribeCapacityBlockOfferings asks for. `starts_after`, `ends_before`: UTC, None for no limit."""

    region: str
    instance_types: tuple[str, ...]
    instance_count: int
    duration_hours: int
    starts_after: datetime | None = None
    ends_before: datetime | None = None


def check_duration(hours: int) -> None:
    """AwsError unless AWS sells blocks of `hours`."""
    days, rest = divmod(hours, 24)
    sold = rest == 0 and (1 <= days <= 14 or (days % 7 == 0 and 14 < days <= LONGEST_DAYS))
    if not sold:
        raise AwsError(
            "InvalidParameterValue",
            f"The specified capacity duration hours value '{hours}' is not valid. Specify 24-hour increments "
            f"up to 336 hours, or 168-hour increments up to {LONGEST_DAYS * 24} hours.",
        )


def check_query(query: Query) -> None:
    """AwsError, with the code EC2 answers with, when no block can be asked for this way."""
    check_duration(query.duration_hours)
    if not query.instance_types:
        raise AwsError("MissingParameter", "The request must contain the parameter InstanceType")
    if len(query.instance_types) > MOST_TYPES:
        raise AwsError("InvalidParameterValue", f"Specify at most {MOST_TYPES} instance type preferences.")
    if not 1 <= query.instance_count <= MOST_INSTANCES:
        raise AwsError(
            "InvalidParameterValue",
            f"The specified instance count '{query.instance_count}' is not valid. "
            f"Specify a value between 1 and {MOST_INSTANCES}.",
        )
    for name in query.instance_types:
        if not any(pool.instance_type == name and pool.region == query.region for pool in POOLS):
            raise AwsError(
                "InvalidParameterValue",
                f"The instance type '{name}' is not supported for Capacity Blocks in '{query.region}'. "
                "Specify a compatible instance type and try again.",
            )


def find(query: Query, *, now: datetime, seed: int, taken: Sequence[Offering]) -> list[Offering]:
    """Blocks on sale at `now` (UTC), soonest first; `taken`: those already sold. AwsError for a bad query.

    The same seed and day give the same blocks, ids included, however often and in whatever order one asks.
    """
    check_query(query)
    found = [
        offering
        for pool in POOLS
        if pool.region == query.region and pool.instance_type in query.instance_types
        for offering in _offered(pool, query, now, seed)
        if fits(offering, taken)
    ]
    return sorted(found, key=lambda one: (one.start, one.zone, one.instance_type))[:MOST_SHOWN]


def fits(offering: Offering, taken: Sequence[Offering]) -> bool:
    """Whether its pool still has the instances, with all of `taken` sold.

    Instances sold for any overlapping block count as gone for the whole of it: simpler than AWS's packing,
    and never too generous.
    """
    gone = sum(sold.instance_count for sold in taken if sold.overlaps(offering))
    pool = next(one for one in POOLS if (one.zone, one.instance_type) == (offering.zone, offering.instance_type))
    return gone + offering.instance_count <= pool.instances


def can_start(offering: Offering, now: datetime) -> bool:
    """Whether there is still time to buy it: AWS sells until 30 minutes before the start."""
    return now + LEAD_TIME <= offering.start


def _offered(pool: Pool, query: Query, now: datetime, seed: int) -> Iterator[Offering]:
    for index, start in enumerate(_starts(now)):
        end = start + timedelta(hours=query.duration_hours)
        if query.starts_after is not None and start < query.starts_after:
            continue
        if query.ends_before is not None and end > query.ends_before:
            continue
        wanted = f"{pool.instance_type} {query.instance_count} {query.duration_hours}"
        digest = hashlib.sha256(f"{seed} {pool.zone} {start:%F} {wanted}".encode()).hexdigest()
        # The soonest day is always on sale, so that a rehearsal never waits for luck; of the others, two in three.
        if index and int(digest[-2:], 16) % 3 == 0:
            continue
        hours = Decimal(query.duration_hours)
        fee = (pool.price * query.instance_count * hours).quantize(Decimal("0.01"), ROUND_HALF_UP)
        yield Offering(
            f"cb-{digest[:17]}",
            pool.region,
            pool.zone,
            pool.instance_type,
            query.instance_count,
            start,
            end,
            fee,
        )


def _starts(now: datetime) -> Iterator[datetime]:
    """11:30 UTC of every day from the first that is 30 minutes ahead to the last within 8 weeks."""
    start = datetime.combine(now.astimezone(timezone.utc).date(), END_OF_DAY)
    while start < now + LEAD_TIME:
        start += timedelta(days=1)
    while start <= now + HORIZON:
        yield start
        start += timedelta(days=1)
