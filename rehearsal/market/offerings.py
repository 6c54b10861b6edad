"""What a search for Capacity Blocks finds, and refuses. Pure: no moto, no clock.

Sources
-------
- Durations, counts and windows: EC2 user guide, "Find and purchase Capacity Blocks": one-day steps to 14
  days, seven-day steps to 182; at most 64 instances; up to six are shown. EC2 API reference,
  DescribeCapacityBlockOfferings: `EndDateRange` is the latest end.
- At most 256 instances across blocks: EC2 user guide, "Capacity Blocks for ML". That those of one region at one time
  count, that a purchase is refused, and its code are assumed.
- Error codes: EC2 API reference, "Error codes" (InvalidCapacityBlockOfferingId*), and the text EC2 was seen to
  send for an unsupported type ("is not supported for Capacity Blocks in"). That dates in the past, or in the wrong
  order, are refused, and the code, are assumed.
- A purchase makes a reservation of each segment of an offering: EC2 API reference, PurchaseCapacityBlock. When AWS
  offers segments is not published: assumed for what no zone can serve alone.
- A Local Zone is searched only on request, unless the account opted in: EC2 API reference, `AllAvailabilityZones`.
  The rehearsal's account has opted in to none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from rehearsal.errors import AwsError
from rehearsal.market.pools import POOLS, Pool, ZoneType
from rehearsal.market.ultraservers import ULTRASERVERS
from rehearsal.market.windows import LEAD_TIME, LONGEST, Window, windows

MOST_SHOWN = 6
MOST_INSTANCES = 64
MOST_ACROSS_BLOCKS = 256
MOST_TYPES = 10
OFFERING_ID = re.compile(r"cb-[0-9a-f]{17}")


@dataclass(frozen=True)
class Offering:
    """A block that can be bought. Dates are UTC; the fee is for the whole block, in USD.

    `segments`: the parts of one that several zones serve together, which itself has no zone; else none.
    """

    offering_id: str
    region: str
    zone: str
    instance_type: str
    instance_count: int
    start: datetime
    end: datetime
    upfront_fee: Decimal
    ultraserver_type: str = ""
    ultraserver_count: int = 0
    zone_type: ZoneType = "availability-zone"
    segments: tuple[Offering, ...] = ()

    @property
    def duration(self) -> timedelta:
        return self.end - self.start

    @property
    def parts(self) -> tuple[Offering, ...]:
        """What a purchase makes a block of each: the segments, or the UltraServers (assumed), or the whole."""
        if self.segments or self.ultraserver_count <= 1:
            return self.segments or (self,)
        one = replace(
            self,
            instance_count=self.instance_count // self.ultraserver_count,
            upfront_fee=self.upfront_fee / self.ultraserver_count,
            ultraserver_count=1,
        )
        return (one,) * self.ultraserver_count


@dataclass(frozen=True)
class Query:
    """What DescribeCapacityBlockOfferings asks for. `starts_after`, `ends_before`: UTC, None for no limit.

    With an `ultraserver_type` there are no instance types, and `count` is of UltraServers, else of instances.
    `all_zones`: Local Zones that the account has not opted in to are wanted too.
    """

    region: str
    instance_types: tuple[str, ...]
    count: int
    duration_hours: int
    starts_after: datetime | None = None
    ends_before: datetime | None = None
    ultraserver_type: str = ""
    all_zones: bool = False

    @property
    def instance_count(self) -> int:
        return self.count * (ULTRASERVERS[self.ultraserver_type].instances if self.ultraserver_type else 1)


def check_duration(hours: int) -> None:
    """AwsError unless AWS sells blocks of `hours`."""
    days, rest = divmod(hours, 24)
    sold = rest == 0 and (1 <= days <= 14 or (days % 7 == 0 and 14 < days <= LONGEST.days))
    if not sold:
        raise AwsError(
            "InvalidParameterValue",
            f"The specified capacity duration hours value '{hours}' is not valid. Specify 24-hour increments "
            f"up to 336 hours, or 168-hour increments up to {LONGEST.days * 24} hours.",
        )


def check_query(query: Query, now: datetime) -> None:
    """AwsError, with the code EC2 answers with, when no block can be asked for this way at `now`."""
    check_duration(query.duration_hours)
    wanted = (query.ultraserver_type,) if query.ultraserver_type else query.instance_types
    if not wanted:
        raise AwsError("MissingParameter", "The request must contain the parameter InstanceType")
    if len(wanted) > MOST_TYPES:
        raise AwsError("InvalidParameterValue", f"Specify at most {MOST_TYPES} instance type preferences.")
    what = "UltraServer" if query.ultraserver_type else "instance"
    if not 1 <= query.count <= MOST_INSTANCES:
        raise AwsError(
            "InvalidParameterValue",
            f"The specified {what} count '{query.count}' is not valid. Specify a value between 1 and {MOST_INSTANCES}.",
        )
    for name in wanted:
        if not any(_sold_as(pool) == name and pool.region == query.region for pool in POOLS):
            raise AwsError(
                "InvalidParameterValue",
                f"The {what} type '{name}' is not supported for Capacity Blocks in '{query.region}'. "
                f"Specify a compatible {what} type and try again.",
            )
    _check_dates(query, now)


def _check_dates(query: Query, now: datetime) -> None:
    if query.starts_after is not None and query.starts_after < now:
        raise AwsError(
            "InvalidParameterValue",
            f"The specified start date '{query.starts_after:%FT%TZ}' is in the past. Specify a date in the future.",
        )
    if query.starts_after is not None and query.ends_before is not None and query.ends_before < query.starts_after:
        raise AwsError(
            "InvalidParameterValue",
            f"The specified end date '{query.ends_before:%FT%TZ}' is before the start date "
            f"'{query.starts_after:%FT%TZ}'.",
        )


def find(
    query: Query, *, now: datetime, seed: int, taken: Sequence[Offering], starts_soon: bool = False
) -> list[Offering]:
    """Blocks on sale at `now` (UTC), soonest first; `taken`: those already sold. AwsError for a bad query.

    The same seed and day give the same blocks, ids included, however often and in whatever order one asks.
    `starts_soon`: also blocks that start within the hour or so, for which ids are the same for half an hour.
    """
    check_query(query, now)
    pools = [pool for pool in POOLS if _serves(pool, query)]
    found = [
        offering
        for window in windows(now, query.duration_hours, starts_soon=starts_soon)
        if _within(window, query)
        for offering in _offered(pools, window, query, seed, taken)
    ]
    return sorted(found, key=lambda one: (one.start, one.end, one.zone, one.instance_type))[:MOST_SHOWN]


def fits(offering: Offering, taken: Sequence[Offering]) -> bool:
    """Whether its pools still have the instances, with all of `taken` sold."""
    return all(
        part.instance_count <= _free(pool, part.start, part.end, taken)
        for part in offering.segments or (offering,)
        for pool in POOLS
        if _is_from(part, pool)
    )


def check_total(offering: Offering, taken: Sequence[Offering]) -> None:
    """AwsError when an account with all of `taken` may not have so many more instances at a time."""
    at_once = [
        one for one in taken if one.region == offering.region and one.start < offering.end and offering.start < one.end
    ]
    total = offering.instance_count + sum(one.instance_count for one in at_once)
    if total > MOST_ACROSS_BLOCKS:
        raise AwsError(
            "InstanceLimitExceeded",
            f"You can have up to {MOST_ACROSS_BLOCKS} instances across Capacity Blocks; this would make {total}.",
        )


def can_start(offering: Offering, now: datetime) -> bool:
    """Whether there is still time to buy it: AWS sells until 30 minutes before the start."""
    return now + LEAD_TIME <= offering.start


def _offered(
    pools: Sequence[Pool], window: Window, query: Query, seed: int, taken: Sequence[Offering]
) -> Iterator[Offering]:
    """What is on sale in a window: of each type, blocks in the zones that can serve it, or one of segments."""
    for name in dict.fromkeys(_sold_as(pool) for pool in pools):
        of_type = [pool for pool in pools if _sold_as(pool) == name]
        room = {pool: _free(pool, window.start, window.end, taken) for pool in of_type}
        serving = [pool for pool in of_type if room[pool] >= query.instance_count]
        for pool in serving:
            digest = _digest(seed, pool.zone, window, name, query)
            if _on_sale(digest, window):
                yield _block(pool, window, query.instance_count, digest)
        if not serving and not query.ultraserver_type and sum(room.values()) >= query.instance_count:
            shares = _shares(room, query.instance_count)
            place = " ".join(f"{pool.zone}:{count}" for pool, count in shares.items())
            digest = _digest(seed, place, window, name, query)
            if _on_sale(digest, window):
                yield _assembled(shares, window, digest)


def _shares(room: dict[Pool, int], count: int) -> dict[Pool, int]:
    """How many instances of each pool make `count`, from as few pools as will do."""
    shares: dict[Pool, int] = {}
    for pool, free in sorted(room.items(), key=lambda one: -one[1]):
        share = min(free, count - sum(shares.values()))
        if share > 0:
            shares[pool] = share
    return shares


def _assembled(shares: dict[Pool, int], window: Window, digest: str) -> Offering:
    """One offering of a segment a pool."""
    segments = tuple(_block(pool, window, count, digest) for pool, count in shares.items())
    fee = sum((one.upfront_fee for one in segments), Decimal(0))
    return replace(segments[0], zone="", instance_count=sum(shares.values()), upfront_fee=fee, segments=segments)


def _block(pool: Pool, window: Window, count: int, digest: str) -> Offering:
    hours = Decimal((window.end - window.start) // timedelta(minutes=1)) / 60
    units = count // pool.ultraserver.instances if pool.ultraserver else 1
    fee = (pool.price * count * hours / units).quantize(Decimal("0.01"), ROUND_HALF_UP) * units
    return Offering(
        offering_id=f"cb-{digest[:17]}",
        region=pool.region,
        zone=pool.zone,
        instance_type=pool.instance_type,
        instance_count=count,
        start=window.start,
        end=window.end,
        upfront_fee=fee,
        ultraserver_type=pool.ultraserver.name if pool.ultraserver else "",
        ultraserver_count=units if pool.ultraserver else 0,
        zone_type=pool.zone_type,
    )


def _digest(seed: int, place: str, window: Window, name: str, query: Query) -> str:
    text = f"{seed} {place} {window.key} {name} {query.count} {query.duration_hours}"
    return hashlib.sha256(text.encode()).hexdigest()


def _on_sale(digest: str, window: Window) -> bool:
    """Of the days that are left to luck, two in three are."""
    return window.always or int(digest[-2:], 16) % 3 != 0


def _free(pool: Pool, start: datetime, end: datetime, taken: Sequence[Offering]) -> int:
    """Instances of the pool not sold between two dates.

    Those sold for any overlapping block count as gone for the whole of it: simpler than AWS's packing, and never
    too generous.
    """
    gone = sum(one.instance_count for one in taken if _is_from(one, pool) and one.start < end and start < one.end)
    return pool.instances - gone


def _is_from(offering: Offering, pool: Pool) -> bool:
    return (offering.zone, offering.instance_type) == (pool.zone, pool.instance_type)


def _sold_as(pool: Pool) -> str:
    return pool.ultraserver.name if pool.ultraserver else pool.instance_type


def _serves(pool: Pool, query: Query) -> bool:
    wanted = _sold_as(pool) in (query.ultraserver_type, *query.instance_types)
    return wanted and pool.region == query.region and (query.all_zones or pool.zone_type == "availability-zone")


def _within(window: Window, query: Query) -> bool:
    """Whether it is between the dates asked for."""
    if query.starts_after is not None and window.start < query.starts_after:
        return False
    return query.ends_before is None or window.end <= query.ends_before
