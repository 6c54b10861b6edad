"""The table of `cb.search`: one row an offering, laid out for a wide, a middling and an 80-column terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from textwrap import indent

from torchneuron.capacity_blocks.offerings import Offering, Segment
from torchneuron.core.display import Layout
from torchneuron.core.text import duration, local_time, price


@dataclass(frozen=True)
class _Row:
    """What is said of an offering, or of a segment of one. Times may have a second line, in local time."""

    id: str
    instances: str
    zone: str
    start: str
    end: str
    usable: str
    price: str
    per_usable_hour: str = ""
    per_instance_hour: str = ""
    indent: str = ""

    @property
    def thing(self) -> str:
        return indent(_stacked(self.id, self.instances, self.zone), self.indent)

    @property
    def times(self) -> tuple[str, ...]:
        return (self.start, self.end, self.usable)

    @property
    def prices(self) -> tuple[str, ...]:
        return (self.price, self.per_usable_hour, self.per_instance_hour)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.indent + self.id, self.instances, self.zone, *self.times, *self.prices)


_THING = "Offering\nInstances\nZone"
_TIMES = ("Start (UTC)", "End (UTC)", "Usable (UTC)")
_PRICES = (">Price", ">Per\nusable\nhour", ">Per\ninstance-\nhour")
_ONE_BY_ONE = ("Offering", "Instances", "Zone", *_TIMES, *_PRICES)
_STACKED_PRICES = ">Price\nper usable hour\nper inst.-hour"
# From wide to narrow: what has no room beside goes below.
_LAYOUTS: tuple[tuple[tuple[str, ...], Callable[[_Row], tuple[str, ...]]], ...] = (
    (_ONE_BY_ONE, lambda row: _local_beside(row).columns),
    (_ONE_BY_ONE, lambda row: row.columns),
    ((_THING, *_TIMES, *_PRICES), lambda row: (row.thing, *row.times, *row.prices)),
    (
        (_THING, "\n".join(_TIMES), _STACKED_PRICES),
        lambda row: (row.thing, _stacked(*_local_beside(row).times), _stacked(*row.prices)),
    ),
    ((_THING, "Times (UTC)", _STACKED_PRICES), lambda row: (row.thing, _named_times(row), _stacked(*row.prices))),
)


def layouts(offerings: Sequence[Offering]) -> list[Layout]:
    """The same rows for ever narrower terminals, in groups of an offering and its segments."""
    groups = [_rows(offering) for offering in offerings]
    return [Layout(headings, [[cells(row) for row in group] for group in groups]) for headings, cells in _LAYOUTS]


def instances(offering: Offering) -> str:
    """What is sold, and of UltraServers on a second line what they are made of: `2 x u-trn2x64`, `(8 x …)`."""
    made_of = f"{offering.count} x {offering.instance_type}" if offering.count else offering.instance_type
    if not offering.ultraserver_type:
        return made_of
    whole = f"{offering.ultraserver_count} x {offering.ultraserver_type}"
    return _stacked(whole, f"({made_of})") if offering.instance_type else whole


def _rows(offering: Offering) -> list[_Row]:
    """An offering's row, and below it one a segment."""
    per_instance_hour = offering.price_per_instance_hour
    whole = _Row(
        id=offering.id,
        instances=instances(offering),
        zone=f"{len(offering.segments)} segments" if offering.segments else offering.zone,
        start=_time(offering.start),
        end=_time(offering.end),
        usable=_usable(offering),
        price=price(offering.fee, offering.currency),
        per_usable_hour=f"{offering.price_per_usable_hour:,.2f}",
        per_instance_hour="" if per_instance_hour is None else f"{per_instance_hour:,.2f}",
    )
    return [whole, *(_segment(part, number, offering) for number, part in enumerate(offering.segments, 1))]


def _segment(part: Segment, number: int, whole: Offering) -> _Row:
    """A segment's row; dates are said where they are not the whole offering's."""
    own_dates = (part.start, part.end) != (whole.start, whole.end)
    return _Row(
        id=f"segment {number}",
        instances=f"{part.count} x {part.instance_type}",
        zone=part.zone,
        start=_time(part.start) if own_dates else "",
        end=_time(part.end) if own_dates else "",
        usable="",
        price=price(part.fee, whole.currency) if part.fee else "",
        indent="  ",
    )


def _time(time: datetime) -> str:
    return _stacked(f"{time:%Y-%m-%d %H:%M}", local_time(time))


def _usable(offering: Offering) -> str:
    until = offering.reclaimed
    form = "%H:%M" if until.date() == offering.end.date() else "%m-%d %H:%M"
    return _stacked(f"{duration(offering.usable)}, to {until:{form}}", local_time(until))


def _named_times(row: _Row) -> str:
    """The times, each behind its name, with local times below, aligned."""
    lines = []
    for name, time in zip(("start", "end", "use"), row.times, strict=True):
        lines += [f"{'' if index else name:<5} {line}" for index, line in enumerate(time.splitlines())]
    return "\n".join(lines)


def _stacked(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _local_beside(row: _Row) -> _Row:
    """The row with local times in brackets instead of on a second line."""
    start, end, usable = (time.replace("\n", " (") + ")" * time.count("\n") for time in row.times)
    return replace(row, start=start, end=end, usable=usable)
