"""One search for Capacity Blocks, and the rules of AWS that hold before any call: what it sells, when a block ends.

Sources: EC2 user guide, "Capacity Blocks for ML" (durations, sizes, the end of a block); EC2 API reference,
DescribeCapacityBlockOfferings.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta

from torchneuron.core.errors import InputError

_DAYS = (*range(1, 15), *range(21, 183, 7))
SOLD_HOURS: tuple[int, ...] = tuple(24 * days for days in _DAYS)
"""Every duration AWS sells, in hours: each day up to 14 days, then each week up to 182 days."""

DEFAULT_HOURS = 24
MAX_INSTANCES = 64

EARLIEST_START = timedelta(minutes=30)
LATEST_START = timedelta(weeks=8)
"""A block on sale starts at least and at most this far from now."""
END_TOLERANCE = timedelta(days=1)
"""Blocks end at 11:30 UTC, so a block that starts at another time differs from the requested duration by up to this."""

# Instance types that AWS sells in UltraServers only. DescribeCapacityReservations does not say so.
_ULTRASERVER_ONLY = ("trn2u.", "p6e-gb200.", "p6e-gb300.")
# These have no on-demand list price, and on-demand and spot requests for them fail almost everywhere
# (foxl-ai/kiln, docs/research/trn2-trn3.md, October 2026).
_SOLD_AS_BLOCKS_ONLY = ("trn2.", "trn2u.")
_RECLAIMED_BEFORE_END = timedelta(minutes=30)
_ULTRASERVER_RECLAIMED_BEFORE_END = timedelta(minutes=60)
_EXTENSIONS_OPEN_BEFORE_END = timedelta(days=56)
_EXTENSIONS_CLOSE_BEFORE_END = timedelta(hours=1)


@dataclass(frozen=True)
class SearchRequest:
    """One search: `count` instances of a type for `duration_hours` in one region.

    The block starts between `start_after` and `start_before`, both aware and inclusive. `all_zones` includes zones
    that the account has not opted in to.
    """

    instance_type: str
    duration_hours: int
    count: int
    region: str
    start_after: datetime | None = None
    start_before: datetime | None = None
    all_zones: bool = False


def check_duration(hours: int) -> None:
    """Raise InputError, with the nearest durations, unless AWS sells blocks of `hours`."""
    if hours in SOLD_HOURS:
        return
    index = bisect_left(SOLD_HOURS, hours)
    nearest = SOLD_HOURS[max(index - 1, 0) : index + 1]
    raise InputError(
        f"AWS sells no Capacity Block of {hours} hours.",
        why="Blocks last 1 to 14 days, or a number of whole weeks up to 26.",
        do=f"Nearest: {' or '.join(f'{sold} ({days(sold)})' for sold in nearest)}.",
    )


def check_count(count: int) -> None:
    """Raise InputError unless a block can have `count` instances."""
    if not 1 <= count <= MAX_INSTANCES:
        raise InputError(f"A Capacity Block cannot have {count} instances.", do=f"Use a count of 1 to {MAX_INSTANCES}.")


def is_ultraserver(name: str) -> bool:
    """Whether `name` is an UltraServer type, or an instance type that AWS sells in UltraServers only."""
    return name.startswith(("u-", *_ULTRASERVER_ONLY))


def is_sold_as_blocks_only(instance_type: str) -> bool:
    """Whether AWS has, in practice, capacity of the type in Capacity Blocks only."""
    return instance_type.startswith(_SOLD_AS_BLOCKS_ONLY)


def next_shorter(hours: int) -> int | None:
    """The next shorter duration AWS sells, in hours; None below a day."""
    return max((sold for sold in SOLD_HOURS if sold < hours), default=None)


def next_longer(hours: int) -> int | None:
    """The next longer duration AWS sells, in hours; None above 26 weeks."""
    return min((sold for sold in SOLD_HOURS if sold > hours), default=None)


def reclaimed_before_end(instance_type: str, *, ultraserver: bool = False) -> timedelta:
    """How long before a block's end AWS begins to terminate the instances on it."""
    if ultraserver or is_ultraserver(instance_type):
        return _ULTRASERVER_RECLAIMED_BEFORE_END
    return _RECLAIMED_BEFORE_END


def extension_window(end: datetime) -> tuple[datetime, datetime]:
    """The period in which AWS sells extensions of a block that ends at `end`: 56 days to 1 hour before it.

    Source: EC2 user guide, "Extend Capacity Blocks".
    """
    return end - _EXTENSIONS_OPEN_BEFORE_END, end - _EXTENSIONS_CLOSE_BEFORE_END


def days(hours: int) -> str:
    """Whole days as text: `1 day`, `14 days`."""
    return "1 day" if hours == 24 else f"{hours // 24} days"
