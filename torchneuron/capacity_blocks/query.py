"""What a person searches for, read from the options of `cb.search` and checked before AWS is asked anything.

One query stands for many searches: EC2 takes one region, one type and one duration at a time.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from torchneuron.capacity_blocks.rules import (
    DEFAULT_HOURS,
    LATEST_START,
    SOONEST_START,
    check_count,
    check_duration,
    check_ultraserver_count,
    days,
)
from torchneuron.capacity_blocks.search_request import SearchRequest
from torchneuron.core import options
from torchneuron.core.errors import InputError
from torchneuron.core.text import either, iso

ALL = "all"
# Searches of one region are paced at one every two seconds (see `pacing`).
_MOST_A_REGION = 12
_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_ULTRASERVER_TYPE = re.compile(r"u-[a-z0-9-]+")


@dataclass(frozen=True)
class Query:
    """What is searched for: every type for every duration in every region. No `regions`: all that are enabled.

    With an `ultraserver_type` there are no instance types, and `count` is of UltraServers. Times are aware, in UTC;
    a block starts between `start_after` and `start_before`. `max_price` is for a whole block, in its own currency.
    """

    regions: tuple[str, ...]
    instance_types: tuple[str, ...]
    hours: tuple[int, ...]
    count: int = 1
    ultraserver_type: str = ""
    start_after: datetime | None = None
    start_before: datetime | None = None
    all_zones: bool = False
    max_price: Decimal | None = None

    def requests(self, regions: Iterable[str]) -> list[SearchRequest]:
        """Every search of `regions`, region by region."""
        return [
            SearchRequest(
                instance_type=instance_type,
                duration_hours=hours,
                count=self.count,
                region=region,
                ultraserver_type=self.ultraserver_type,
                start_after=self.start_after,
                start_before=self.start_before,
                all_zones=self.all_zones,
            )
            for region in regions
            for instance_type in self.instance_types or ("",)
            for hours in self.hours
        ]

    def asked(self, regions: Sequence[str]) -> str:
        """It in words, for `regions`: `2 x trn2.3xlarge for 1 day or 2 days in sa-east-1`."""
        what = self.ultraserver_type or either(self.instance_types)
        where = either(regions) if len(regions) <= 3 else f"{len(regions)} regions"
        text = f"{self.count} x {what} for {either([days(hours) for hours in self.hours])} in {where}"
        if self.start_after:
            text += f", starting from {self.start_after:%Y-%m-%d %H:%M} UTC"
        if self.start_before:
            text += f", starting by {self.start_before:%Y-%m-%d %H:%M} UTC"
        if self.max_price is not None:
            text += f", for at most {self.max_price}"
        return text

    def command(self, request: SearchRequest) -> str:
        """The command that makes just this one of its searches, or one like it."""
        words = ["invoke", "cb.search"]
        words += ["--ultraserver", request.ultraserver_type] if request.ultraserver_type else ["-t", request.what]
        words += ["-d", str(request.duration_hours), "-r", request.region, "--count", str(request.count)]
        words += ["--start-after", iso(request.start_after)] if request.start_after else []
        words += ["--start-before", iso(request.start_before)] if request.start_before else []
        words += ["--max-price", str(self.max_price)] if self.max_price is not None else []
        words += ["--all-zones"] if request.all_zones else []
        return shlex.join(words)


def read(
    *,
    default_type: str,
    default_region: str,
    now: datetime,
    instance_type: str = "",
    duration: str = "",
    region: str = "",
    count: str = "",
    start_after: str = "",
    start_before: str = "",
    max_price: str = "",
    all_zones: bool = False,
    ultraserver: str = "",
) -> Query:
    """The options of `cb.search` as given, empty for those that were not. `now` is aware.

    Raises InputError for what makes no sense or AWS never sells. Whether the regions exist is for `Aws` to say.
    """
    hours = [options.whole_number("--duration", text) for text in options.several("--duration", duration)]
    after, before = options.moment("--start-after", start_after), options.moment("--start-before", start_before)
    _check_dates(after, before, now)
    regions = [name.lower() for name in options.several("--region", region)] or [default_region]
    query = Query(
        regions=() if ALL in regions else tuple(dict.fromkeys(regions)),
        instance_types=_types(instance_type, ultraserver, default_type),
        hours=tuple(dict.fromkeys(hours)) or (DEFAULT_HOURS,),
        count=options.whole_number("--count", count) if count else 1,
        ultraserver_type=ultraserver,
        start_after=after,
        start_before=before,
        all_zones=all_zones,
        max_price=options.amount("--max-price", max_price),
    )
    for one in query.hours:
        check_duration(one)
    (check_ultraserver_count if ultraserver else check_count)(query.count)
    if len(query.requests([ALL])) > _MOST_A_REGION:
        raise InputError(
            f"These are {len(query.requests([ALL]))} searches a region.",
            why=f"AWS answers about one every two seconds, so at most {_MOST_A_REGION} are made.",
            do="Name fewer types (-t) or durations (-d).",
        )
    return query


def _types(instance_type: str, ultraserver: str, default: str) -> tuple[str, ...]:
    """The instance types to search for; none with an UltraServer."""
    if ultraserver:
        if instance_type:
            raise InputError(
                "An UltraServer has its instance type: --type and --ultraserver don't go together.",
                do="Leave one of them out. With --ultraserver, --count is the number of UltraServers.",
            )
        if not _ULTRASERVER_TYPE.fullmatch(ultraserver):
            raise InputError(
                f"{ultraserver!r} is not a type of UltraServer.", do="Such types look like u-trn2x64: copy it whole."
            )
        return ()
    types = options.several("--type", instance_type) or (default,)
    for name in types:
        if not _INSTANCE_TYPE.fullmatch(name):
            hint = f"UltraServers have an option of their own: --ultraserver {name}." if name[:2] == "u-" else ""
            raise InputError(f"{name!r} is not an instance type.", do=hint or "Such types look like trn2.3xlarge.")
    return types


def _check_dates(after: datetime | None, before: datetime | None, now: datetime) -> None:
    """Raise InputError unless some block can start at `after` or later and at `before` or sooner."""
    if after and after > now + LATEST_START:
        raise InputError(
            f"No block on sale starts as late as {after:%Y-%m-%d %H:%M} UTC (--start-after).",
            why=f"AWS sells Capacity Blocks up to {LATEST_START.days // 7} weeks ahead:"
            f" until {now + LATEST_START:%Y-%m-%d %H:%M} UTC today.",
        )
    if before and before < now + SOONEST_START:
        raise InputError(
            f"No block on sale starts as soon as {before:%Y-%m-%d %H:%M} UTC (--start-before).",
            why="AWS sells Capacity Blocks from 30 minutes ahead, and a date alone means its first minute, in UTC.",
        )
    if after and before and before < after:
        raise InputError(
            "--start-before is before --start-after.",
            why=f"{before:%Y-%m-%d %H:%M} UTC is before {after:%Y-%m-%d %H:%M} UTC.",
        )
