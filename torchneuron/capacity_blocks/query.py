"""The query of `cb.search`: its options, read and checked before any call to AWS.

One query stands for many searches: EC2 accepts one region, one type and one duration at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from torchneuron.capacity_blocks.rules import (
    DEFAULT_HOURS,
    EARLIEST_START,
    LATEST_START,
    SearchRequest,
    check_count,
    check_duration,
    days,
    is_ultraserver,
)
from torchneuron.core import text
from torchneuron.core.errors import InputError
from torchneuron.core.options import amount, flag, moment, option, several, whole_number
from torchneuron.core.text import either, iso

ALL = "all"
# Searches of one region are limited to one every two seconds (see `multi_region_search.TokenBucket`).
_MAX_PER_REGION = 12
_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


@dataclass(frozen=True)
class SearchOptions:
    """The options of `cb.search`."""

    type: str = option("Instance types, separated by commas [default: the settings' default type]")
    duration: str = option(
        "Hours, separated by commas: 24 to 336 in steps of 24, then to 4368 in steps of 168 [default: 24]",
        default=str(DEFAULT_HOURS),
    )
    region: str = option("AWS regions, separated by commas, or all [default: the settings' default region]")
    count: int = option("Instances in the block, at most 64 [default: 1]", default=1, parse=whole_number)
    start_after: datetime | None = option("Earliest start of the block, in ISO 8601", default=None, parse=moment)
    start_before: datetime | None = option("Latest start of the block, in ISO 8601", default=None, parse=moment)
    max_price: Decimal | None = option("Leave out blocks that cost more than this in total", default=None, parse=amount)
    all_zones: bool = flag("Include Local Zones")
    output: str = option("Output format: table, json or csv [default: table]", default="table")
    suggest: bool = flag("If nothing is on sale, also search nearby durations, smaller counts and other regions")


@dataclass(frozen=True)
class Query:
    """Every type for every duration in every region; without `regions`, in all that are enabled.

    The block starts between `start_after` and `start_before`, both aware, in UTC. `max_price` is for a whole block, in
    its own currency.
    """

    regions: tuple[str, ...]
    instance_types: tuple[str, ...]
    hours: tuple[int, ...]
    count: int = 1
    start_after: datetime | None = None
    start_before: datetime | None = None
    all_zones: bool = False
    max_price: Decimal | None = None

    def requests(self, regions: Iterable[str]) -> list[SearchRequest]:
        """Every search in `regions`, region by region."""
        return [
            SearchRequest(
                instance_type=instance_type,
                duration_hours=hours,
                count=self.count,
                region=region,
                start_after=self.start_after,
                start_before=self.start_before,
                all_zones=self.all_zones,
            )
            for region in regions
            for instance_type in self.instance_types
            for hours in self.hours
        ]

    def describe(self, regions: Sequence[str]) -> str:
        """The query as text, for `regions`: `2 x trn2.3xlarge for 1 day or 2 days in sa-east-1`."""
        durations = either([days(hours) for hours in self.hours])
        where = either(regions) if len(regions) <= 3 else f"{len(regions)} regions"
        description = f"{self.count} x {either(self.instance_types)} for {durations} in {where}"
        if self.start_after:
            description += f", starting from {self.start_after:%Y-%m-%d %H:%M} UTC"
        if self.start_before:
            description += f", starting by {self.start_before:%Y-%m-%d %H:%M} UTC"
        if self.max_price is not None:
            description += f", for at most {self.max_price}"
        return description

    def command(self, request: SearchRequest) -> str:
        """The command for a single search, with this query's maximum price."""
        words = ["-t", request.instance_type, "-d", str(request.duration_hours), "-r", request.region]
        words += ["--count", str(request.count)]
        words += ["--start-after", iso(request.start_after)] if request.start_after else []
        words += ["--start-before", iso(request.start_before)] if request.start_before else []
        words += ["--max-price", str(self.max_price)] if self.max_price is not None else []
        words += ["--all-zones"] if request.all_zones else []
        return text.command("invoke cb.search", *words)


def read(options: SearchOptions, *, default_type: str, default_region: str, now: datetime) -> Query:
    """The query for `options`. `now` is aware.

    Raises InputError for options that are invalid or that AWS never sells. `Aws` checks whether the regions exist.
    """
    _check_dates(options.start_after, options.start_before, now)
    hours = [whole_number("--duration", part) for part in several("--duration", options.duration)]
    regions = [name.lower() for name in several("--region", options.region)] or [default_region]
    query = Query(
        regions=() if ALL in regions else tuple(dict.fromkeys(regions)),
        instance_types=several("--type", options.type) or (default_type,),
        hours=tuple(dict.fromkeys(hours)),
        count=options.count,
        start_after=options.start_after,
        start_before=options.start_before,
        all_zones=options.all_zones,
        max_price=options.max_price,
    )
    for name in query.instance_types:
        check_type(name)
    for duration in query.hours:
        check_duration(duration)
    check_count(query.count)
    searches = len(query.requests([ALL]))
    if searches > _MAX_PER_REGION:
        raise InputError(
            f"Too many searches: {searches} per region.",
            why=f"AWS allows about one every two seconds; the limit is {_MAX_PER_REGION} per region.",
            do="Name fewer types (-t) or durations (-d).",
        )
    return query


def check_type(name: str) -> None:
    """Raise InputError unless `name` looks like an instance type, and one that AWS sells without an UltraServer."""
    if is_ultraserver(name):
        raise InputError(
            f"{name!r} is for UltraServers, which invoke deploy cannot use.",
            why="invoke deploy launches instances on one reservation; UltraServers are not supported.",
            do="Search for an instance type, such as -t trn2.48xlarge. The AWS CLI finds UltraServers:"
            " aws ec2 describe-capacity-block-offerings --ultraserver-type",
        )
    if not _INSTANCE_TYPE.fullmatch(name):
        raise InputError(f"{name!r} is not an instance type.", do="Instance types look like trn2.3xlarge.")


def _check_dates(after: datetime | None, before: datetime | None, now: datetime) -> None:
    """Raise InputError unless a block can start between `after` and `before`."""
    if after and after > now + LATEST_START:
        raise InputError(
            f"No block on sale starts as late as {after:%Y-%m-%d %H:%M} UTC (--start-after).",
            why=f"AWS sells Capacity Blocks up to {LATEST_START.days // 7} weeks ahead:"
            f" until {now + LATEST_START:%Y-%m-%d %H:%M} UTC today.",
        )
    if before and before < now + EARLIEST_START:
        raise InputError(
            f"No block on sale starts as soon as {before:%Y-%m-%d %H:%M} UTC (--start-before).",
            why="AWS sells Capacity Blocks from 30 minutes ahead. A date without a time means 00:00 UTC.",
        )
    if after and before and before < after:
        raise InputError(
            "--start-before is before --start-after.",
            why=f"{before:%Y-%m-%d %H:%M} UTC is before {after:%Y-%m-%d %H:%M} UTC.",
        )
