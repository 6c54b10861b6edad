"""Searches for Capacity Block offerings. Does not import moto or read a clock.

Sources
-------
- Durations, counts and windows: EC2 user guide, "Find and purchase Capacity Blocks": one-day steps to 14
  days, seven-day steps to 182; at most 64 instances; up to six are shown. EC2 API reference,
  DescribeCapacityBlockOfferings: `EndDateRange` is the latest end.
- At most 256 instances across blocks: EC2 user guide, "Capacity Blocks for ML". Assumed: the limit applies to
  concurrent blocks in one region; a purchase beyond it is refused; the error code.
- Error codes: EC2 API reference, "Error codes" (InvalidCapacityBlockOfferingId*), and the text that EC2
  returned for an unsupported type ("is not supported for Capacity Blocks in"). Assumed: dates in the past or in the
  wrong order are refused, and with which code.
- A purchase creates a reservation for each segment of an offering: EC2 API reference, PurchaseCapacityBlock. AWS does
  not publish when it offers segments; assumed: when no single zone has enough capacity.
- Local Zones are searched only on request, unless the account opted in: EC2 API reference, `AllAvailabilityZones`.
  The rehearsal's account has not opted in to any.
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
from rehearsal.market.windows import LEAD_TIME, MAX_DURATION, Window, windows

MAX_RESULTS = 6
MAX_INSTANCES = 64
MAX_TOTAL_INSTANCES = 256
MAX_TYPES = 10
OFFERING_ID = re.compile(r"cb-[0-9a-f]{17}")


@dataclass(frozen=True)
class Offering:
    """A block that can be purchased. Dates are UTC; the fee is the total in USD.

    `segments`: one offering for each zone, if the capacity comes from several zones. `zone` is empty then.
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
        """The parts that each become a block when purchased: segments, UltraServers (assumed), or the whole."""
        if self.segments or self.ultraserver_count <= 1:
            return self.segments or (self,)
        ultraserver = replace(
            self,
            instance_count=self.instance_count // self.ultraserver_count,
            upfront_fee=self.upfront_fee / self.ultraserver_count,
            ultraserver_count=1,
        )
        return (ultraserver,) * self.ultraserver_count


@dataclass(frozen=True)
class Query:
    """A DescribeCapacityBlockOfferings request. `starts_after`, `ends_before`: UTC, None for no limit.

    With `ultraserver_type`, `instance_types` is empty and `count` is the number of UltraServers instead of instances.
    `all_zones`: include Local Zones that the account has not opted in to.
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
    """AwsError unless AWS sells blocks of this duration."""
    days, rest = divmod(hours, 24)
    is_sold = rest == 0 and (1 <= days <= 14 or (days % 7 == 0 and 14 < days <= MAX_DURATION.days))
    if not is_sold:
        raise AwsError(
            "InvalidParameterValue",
            f"The specified capacity duration hours value '{hours}' is not valid. Specify 24-hour increments "
            f"up to 336 hours, or 168-hour increments up to {MAX_DURATION.days * 24} hours.",
        )


def check_query(query: Query, now: datetime) -> None:
    """AwsError, with EC2's code, if the query is invalid at `now`."""
    check_duration(query.duration_hours)
    names = (query.ultraserver_type,) if query.ultraserver_type else query.instance_types
    if not names:
        raise AwsError("MissingParameter", "The request must contain the parameter InstanceType")
    if len(names) > MAX_TYPES:
        raise AwsError("InvalidParameterValue", f"Specify at most {MAX_TYPES} instance type preferences.")
    kind = "UltraServer" if query.ultraserver_type else "instance"
    if not 1 <= query.count <= MAX_INSTANCES:
        raise AwsError(
            "InvalidParameterValue",
            f"The specified {kind} count '{query.count}' is not valid. Specify a value between 1 and {MAX_INSTANCES}.",
        )
    for name in names:
        if not any(_sold_as(pool) == name and pool.region == query.region for pool in POOLS):
            raise AwsError(
                "InvalidParameterValue",
                f"The {kind} type '{name}' is not supported for Capacity Blocks in '{query.region}'. "
                f"Specify a compatible {kind} type and try again.",
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
    query: Query, *, now: datetime, seed: int, sold: Sequence[Offering], starts_soon: bool = False
) -> list[Offering]:
    """Offerings at `now` (UTC), soonest first; AwsError for an invalid query.

    The same seed and day give the same offerings and ids. `sold`: capacity that is no longer on sale.
    `starts_soon`: include blocks that start within 90 minutes. Their ids change every half hour.
    """
    check_query(query, now)
    pools = [pool for pool in POOLS if _serves(pool, query)]
    found = [
        offering
        for window in windows(now, query.duration_hours, starts_soon=starts_soon)
        if _is_within(window, query)
        for offering in _offerings_in(pools, window, query, seed, sold)
    ]
    return sorted(found, key=_order)[:MAX_RESULTS]


def _order(offering: Offering) -> tuple[datetime, datetime, str, str]:
    return offering.start, offering.end, offering.zone, offering.instance_type


def fits(offering: Offering, sold: Sequence[Offering]) -> bool:
    """Whether the pools have enough capacity left for the offering."""
    return all(
        part.instance_count <= _free(pool, part.start, part.end, sold)
        for part in offering.segments or (offering,)
        for pool in POOLS
        if _is_from(part, pool)
    )


def check_total(offering: Offering, sold: Sequence[Offering]) -> None:
    """AwsError if the purchase would exceed the limit on concurrent instances across blocks."""
    concurrent = [
        other
        for other in sold
        if other.region == offering.region and other.start < offering.end and offering.start < other.end
    ]
    total = offering.instance_count + sum(other.instance_count for other in concurrent)
    if total > MAX_TOTAL_INSTANCES:
        raise AwsError(
            "InstanceLimitExceeded",
            f"You can have up to {MAX_TOTAL_INSTANCES} instances across Capacity Blocks; this would make {total}.",
        )


def can_start(offering: Offering, now: datetime) -> bool:
    """Whether the offering can still be purchased: AWS sells until 30 minutes before the start."""
    return now + LEAD_TIME <= offering.start


def _offerings_in(
    pools: Sequence[Pool], window: Window, query: Query, seed: int, sold: Sequence[Offering]
) -> Iterator[Offering]:
    """The offerings of a window: for each type one per zone with enough capacity, or a single one with segments."""
    for name in dict.fromkeys(_sold_as(pool) for pool in pools):
        of_type = [pool for pool in pools if _sold_as(pool) == name]
        free = {pool: _free(pool, window.start, window.end, sold) for pool in of_type}
        serving = [pool for pool in of_type if free[pool] >= query.instance_count]
        for pool in serving:
            digest = _digest(seed, pool.zone, window, name, query)
            if _on_sale(digest, window):
                yield _block(pool, window, query.instance_count, digest)
        if not serving and not query.ultraserver_type and sum(free.values()) >= query.instance_count:
            shares = _shares(free, query.instance_count)
            place = " ".join(f"{pool.zone}:{count}" for pool, count in shares.items())
            digest = _digest(seed, place, window, name, query)
            if _on_sale(digest, window):
                yield _segmented(shares, window, digest)


def _shares(free: dict[Pool, int], count: int) -> dict[Pool, int]:
    """Distribute `count` instances over as few pools as possible."""
    shares: dict[Pool, int] = {}
    for pool, available in sorted(free.items(), key=lambda item: -item[1]):
        share = min(available, count - sum(shares.values()))
        if share > 0:
            shares[pool] = share
    return shares


def _segmented(shares: dict[Pool, int], window: Window, digest: str) -> Offering:
    """An offering with one segment for each pool."""
    segments = tuple(_block(pool, window, count, digest) for pool, count in shares.items())
    fee = sum((segment.upfront_fee for segment in segments), Decimal(0))
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
    """Whether a window is on sale: about two in three, unless it always is."""
    return window.always or int(digest[-2:], 16) % 3 != 0


def _free(pool: Pool, start: datetime, end: datetime, sold: Sequence[Offering]) -> int:
    """Instances of the pool that are free between two dates.

    A block that overlaps the dates counts in full, even if two such blocks do not overlap each other. This may
    underestimate the free capacity but never overestimates it.
    """
    return pool.instances - sum(
        offering.instance_count
        for offering in sold
        if _is_from(offering, pool) and offering.start < end and start < offering.end
    )


def _is_from(offering: Offering, pool: Pool) -> bool:
    return (offering.zone, offering.instance_type) == (pool.zone, pool.instance_type)


def _sold_as(pool: Pool) -> str:
    return pool.ultraserver.name if pool.ultraserver else pool.instance_type


def _serves(pool: Pool, query: Query) -> bool:
    matches = _sold_as(pool) in (query.ultraserver_type, *query.instance_types)
    return matches and pool.region == query.region and (query.all_zones or pool.zone_type == "availability-zone")


def _is_within(window: Window, query: Query) -> bool:
    """Whether the window is between the dates of the query."""
    if query.starts_after is not None and window.start < query.starts_after:
        return False
    return query.ends_before is None or window.end <= query.ends_before
