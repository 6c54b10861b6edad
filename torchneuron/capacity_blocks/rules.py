"""What AWS sells as Capacity Blocks and when it takes them back: rules that hold before any call is made.

Source: EC2 user guide, "Capacity Blocks for ML" (durations, sizes, the end of a block), and the EC2 API
reference, DescribeCapacityBlockOfferings.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta

from torchneuron.core.errors import InputError

_DAYS = (*range(1, 15), *range(21, 183, 7))
SOLD_HOURS: tuple[int, ...] = tuple(24 * days for days in _DAYS)
"""Every duration sold, in hours: each day up to 14 days, then each week up to 182 days."""

DEFAULT_HOURS = 24
"""What is meant where no duration is named."""

MOST_INSTANCES = 64

SOONEST_START = timedelta(minutes=30)
LATEST_START = timedelta(weeks=8)
"""A block on sale starts this long from now at the soonest, and at the latest."""
ENDS_APART = timedelta(days=1)
"""Blocks end at 11:30 UTC only: one that starts at another time is up to this much longer or shorter than asked for."""

# Instances in an UltraServer (EC2, "Amazon EC2 UltraServers"); EC2 need not name their number in an offering.
_INSTANCES_IN = {
    "u-trn2x64": 4,
    "u-p6e-gb200x36": 9,
    "u-p6e-gb200x72": 18,
    "u-p6e-gb300x72": 18,
}
ULTRASERVER_TYPES = tuple(_INSTANCES_IN)

# Instance types that only come as UltraServers: DescribeCapacityReservations does not say so itself.
_ULTRASERVER_TYPES = ("trn2u.", "p6e-gb200.", "p6e-gb300.")
# There is no on-demand list price for any size of these, and on-demand and spot requests were refused almost everywhere
# (foxl-ai/kiln, docs/research/trn2-trn3.md, October 2026).
_SOLD_AS_BLOCKS_ONLY = ("trn2.", "trn2u.")
_RECLAIMED_BEFORE_END = timedelta(minutes=30)
_ULTRASERVER_RECLAIMED_BEFORE_END = timedelta(minutes=60)
_EXTENSIONS_OPEN_BEFORE_END = timedelta(days=56)
_EXTENSIONS_CLOSE_BEFORE_END = timedelta(hours=1)


def check_duration(hours: int) -> None:
    """Raise InputError, naming the nearest durations that are sold, unless AWS sells blocks of `hours`."""
    if hours in SOLD_HOURS:
        return
    after = bisect_left(SOLD_HOURS, hours)
    nearest = SOLD_HOURS[max(after - 1, 0) : after + 1]
    raise InputError(
        f"AWS sells no Capacity Block of {hours} hours.",
        why="Blocks last 1 to 14 days, or a number of whole weeks up to 26.",
        do=f"Nearest: {' or '.join(f'{near} ({days(near)})' for near in nearest)}.",
    )


def check_count(count: int) -> None:
    """Raise InputError unless one block can have `count` instances."""
    if not 1 <= count <= MOST_INSTANCES:
        raise InputError(f"A Capacity Block cannot have {count} instances.", do=f"Ask for 1 to {MOST_INSTANCES}.")


def check_ultraserver_count(count: int) -> None:
    """Raise InputError for a number of UltraServers that no block can have. AWS publishes no limit of its own."""
    if not 1 <= count <= MOST_INSTANCES:
        raise InputError(f"A Capacity Block cannot have {count} UltraServers.", do=f"Ask for 1 to {MOST_INSTANCES}.")


def instances_in(ultraserver_type: str) -> int:
    """How many instances one UltraServer of this type has; 0 where that is not known."""
    return _INSTANCES_IN.get(ultraserver_type, 0)


def is_sold_as_blocks_only(instance_type: str) -> bool:
    """Whether AWS has, in practice, capacity of the type in Capacity Blocks only."""
    return instance_type.startswith(_SOLD_AS_BLOCKS_ONLY)


def next_shorter(hours: int) -> int | None:
    """The next shorter duration sold, in hours; None below a day."""
    return max((one for one in SOLD_HOURS if one < hours), default=None)


def next_longer(hours: int) -> int | None:
    """The next longer duration sold, in hours; None above 26 weeks."""
    return min((one for one in SOLD_HOURS if one > hours), default=None)


def reclaimed_before_end(instance_type: str, *, ultraserver: bool = False) -> timedelta:
    """How long before a block's end AWS begins to terminate the instances on it."""
    if ultraserver or instance_type.startswith(_ULTRASERVER_TYPES):
        return _ULTRASERVER_RECLAIMED_BEFORE_END
    return _RECLAIMED_BEFORE_END


def extension_window(end: datetime) -> tuple[datetime, datetime]:
    """From when until when AWS sells extensions of a block that ends at `end`: 56 days to 1 hour before it.

    Source: EC2 user guide, "Extend Capacity Blocks".
    """
    return end - _EXTENSIONS_OPEN_BEFORE_END, end - _EXTENSIONS_CLOSE_BEFORE_END


def days(hours: int) -> str:
    """Whole days in words: `1 day`, `14 days`."""
    return "1 day" if hours == 24 else f"{hours // 24} days"
