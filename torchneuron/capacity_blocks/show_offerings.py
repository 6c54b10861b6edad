"""The output of `cb.search`: a table, a timeline, and the command to continue with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime, time, timedelta, timezone

from rich.bar import Bar
from rich.console import Console

from torchneuron.capacity_blocks import refusals, suggestions
from torchneuron.capacity_blocks.export_offerings import as_csv, as_json
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.refusals import NotSoldError, Refusal
from torchneuron.capacity_blocks.search import Results
from torchneuron.core import display, options
from torchneuron.core.display import Layout
from torchneuron.core.errors import InputError
from torchneuron.core.text import duration, either, iso, local_time, price, quoted, when

_OUTPUTS = ("table", "json", "csv")
_TIMES = ("Start (UTC)", "End (UTC)", "Usable (UTC)")
_WIDE = ("Offering", "Instances", "Zone", *_TIMES, ">Price", ">Per\nusable\nhour", ">Per\ninstance-\nhour")
_STACKED = ("Offering\nInstances\nZone", "\n".join(_TIMES), ">Price\nper usable hour\nper inst.-hour")
_DAY = timedelta(days=1)
_GAP = 2
# Narrower bars show nothing, and wider ones are hard to follow.
_MIN_BAR_WIDTH, _MAX_BAR_WIDTH = 20, 120
# Days between two dates on the axis.
_STEPS = (1, 2, 3, 7, 14, 28, 56, 112, 224)


def form(output: str, *, suggest: bool) -> str:
    """`output`, checked. Raises InputError for an unknown output, or one that cannot show suggestions."""
    options.one_of("output", output, _OUTPUTS)
    if suggest and output == "csv":
        raise InputError("--suggest cannot be combined with --output csv.", do="Use --output json.")
    return output


def show(results: Results, output: str = "table") -> list[Offering]:
    """Print the results; returns the offerings whose ids were printed."""
    if output == "json":
        display.say(as_json(results))
        suggested = [suggestion.offering for suggestion in results.suggestions or ()]
        return [*results.offerings, *results.dearer, *results.unsupported, *suggested]
    for line in refusals.summary(_relevant_refusals(results), results.regions):
        display.note(line)
    for line in _unsupported(results):
        display.note(line)
    if output == "csv":
        display.say(as_csv(results).rstrip("\n"))
    elif results.offerings:
        _show_offerings(results)
    else:
        _show_alternatives(results)
    return list(results.offerings)


def layouts(offerings: Sequence[Offering]) -> list[Layout]:
    """The table for terminals of about 160, 100 and 80 columns."""
    rows = ((_WIDE, _wide_row), (_STACKED, _stacked_row), (_STACKED, _narrow_row))
    return [Layout(headings, [[row(offering)] for offering in offerings]) for headings, row in rows]


def timeline(offerings: Sequence[Offering], width: int, *, plain: bool = False) -> list[str]:
    """An axis of dates in UTC, and a bar per offering, labelled with its id, in lines of at most `width`.

    A bar ends when AWS begins to terminate the instances. `plain` uses ASCII only. Empty if there is too little room.
    """
    label_width = max((len(offering.id) for offering in offerings), default=0) + _GAP
    bar_width = min(width - label_width, _MAX_BAR_WIDTH)
    if not offerings or bar_width < _MIN_BAR_WIDTH:
        return []
    first = _midnight(min(offering.start for offering in offerings))
    last = _midnight(max(offering.reclaimed for offering in offerings)) + _DAY
    lines = [" " * label_width + _axis(first, last, bar_width)]
    for offering in offerings:
        bar = _bar(offering.start - first, offering.reclaimed - first, last - first, bar_width)
        lines.append(f"{offering.id:<{label_width}}{bar}")
    return [_in_ascii(line) for line in lines] if plain else lines


def _relevant_refusals(results: Results) -> list[Refusal]:
    """All refusals; for a search of all regions, without regions that do not sell a type that others do."""
    if results.query.regions:
        return list(results.refused)
    sold = {request.instance_type for request in results.answered}
    return [
        refusal
        for refusal in results.refused
        if not (isinstance(refusal.error, NotSoldError) and refusal.request.instance_type in sold)
    ]


def _unsupported(results: Results) -> list[str]:
    """A line per reason for offerings that were left out."""
    reasons = [offering.unsupported_reason for offering in results.unsupported]
    return [f"Offerings left out: {reasons.count(reason)}. {reason}" for reason in dict.fromkeys(reasons)]


def _show_offerings(results: Results) -> None:
    display.say(f"Capacity Blocks on sale: {results.query.describe(_regions(results))}.")
    display.fitting_table(layouts(results.offerings))
    if lines := timeline(results.offerings, display.width(), plain=display.plain_characters()):
        display.say("\nWhen instances can run, in UTC:")
        for line in lines:
            display.say(line)
        display.say()
    _show_dearer(results)
    if any(offering.zone_type not in ("", "availability-zone") for offering in results.offerings):
        display.say("Some are in Local Zones: opt in to the zone before you buy, or no instance can be launched there.")
    best = results.offerings[0]
    display.say("Cheapest usable hour first. To buy the first one:")
    # Scripts read this line.
    display.say(
        f"  invoke cb.purchase --offering-id {quoted(best.id)}"
        f" --start-time {quoted(iso(best.start))} -r {best.search.region}"
    )


def _show_alternatives(results: Results) -> None:
    query = results.query
    display.say(f"No Capacity Block on sale: {query.describe(_regions(results))}.")
    _show_dearer(results)
    if results.suggestions is None:
        display.say(f"Try {_other_options(results)}, or add --suggest to search nearby.")
    elif not results.suggestions:
        display.say("Nearby durations, smaller counts and your other enabled regions have none either.")
    else:
        display.say("On sale instead, the cheapest of each:")
        for suggestion in results.suggestions:
            offering = suggestion.offering
            display.say(
                f"  {suggestions.difference(query, suggestion.request)}: {price(offering.fee, offering.currency)},"
                f" {offering.price_per_usable_hour:,.2f} per usable hour, from {when(offering.start)}"
            )
            display.say(f"    {query.command(suggestion.request)}")


def _show_dearer(results: Results) -> None:
    if results.dearer:
        cheapest = min(results.dearer, key=lambda offering: offering.fee)
        display.say(
            f"On sale above --max-price {results.query.max_price}: {len(results.dearer)},"
            f" from {price(cheapest.fee, cheapest.currency)}."
        )


def _regions(results: Results) -> list[str]:
    """The regions with at least one complete search; all of them if there is none."""
    return list(dict.fromkeys(request.region for request in results.answered)) or list(results.regions)


def _other_options(results: Results) -> str:
    query = results.query
    ideas = ["another duration (-d)"]
    if query.count > 1:
        ideas.append("a smaller count (--count)")
    if query.start_after or query.start_before:
        ideas.append("other dates (--start-after, --start-before)")
    if query.regions:
        ideas.append("other regions (-r all)")
    return either(ideas)


def _wide_row(offering: Offering) -> list[str]:
    """One column per value; local times on a second line."""
    times = [_stacked(utc, local) for utc, local in _times(offering)]
    return [offering.id, _instances(offering), offering.zone, *times, *_prices(offering)]


def _stacked_row(offering: Offering) -> list[str]:
    """Three columns; local times in brackets."""
    return _in_three_columns(offering, [f"{utc} ({local})" if local else utc for utc, local in _times(offering)])


def _narrow_row(offering: Offering) -> list[str]:
    """Three columns; each local time on a line of its own."""
    return _in_three_columns(offering, [_stacked(utc, local) for utc, local in _times(offering)])


def _in_three_columns(offering: Offering, times: Sequence[str]) -> list[str]:
    return [_stacked(offering.id, _instances(offering), offering.zone), _stacked(*times), _stacked(*_prices(offering))]


def _instances(offering: Offering) -> str:
    return f"{offering.count} x {offering.instance_type}"


def _times(offering: Offering) -> list[tuple[str, str]]:
    """Start, end and usable time, each in UTC and in local time; the latter is empty in UTC."""
    end = offering.reclaimed
    end_format = "%H:%M" if end.date() == offering.end.date() else "%m-%d %H:%M"
    usable = f"{duration(offering.usable)}, to {end:{end_format}}"
    dates = [(f"{time:%Y-%m-%d %H:%M}", local_time(time)) for time in (offering.start, offering.end)]
    return [*dates, (usable, local_time(end))]


def _prices(offering: Offering) -> list[str]:
    unit_prices = (offering.price_per_usable_hour, offering.price_per_instance_hour)
    return [price(offering.fee, offering.currency), *(f"{amount:,.2f}" for amount in unit_prices)]


def _stacked(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _axis(first: datetime, last: datetime, width: int) -> str:
    """Dates, each after a mark at its midnight, as close together as they fit."""
    days = (last - first) // _DAY
    step = next((step for step in _STEPS if step * width >= len("│12 Jan ") * days), _STEPS[-1])
    axis = ""
    for day in range(0, days, step):
        label = f"│{first + day * _DAY:%d %b}"
        position = day * width // days
        # Over years even the widest step is too narrow: leave out labels that would overlap.
        if (not axis or position > len(axis)) and position + len(label) <= width:
            axis = axis.ljust(position) + label
    return axis


def _bar(start: timedelta, end: timedelta, span: timedelta, width: int) -> str:
    # The shortest block is one character wide, inside the axis.
    size = span.total_seconds()
    begin = min(start.total_seconds(), size - size / width)
    bar = Bar(size, begin, max(end.total_seconds(), begin + size / width), width=width)
    console = Console(width=width, file=io.StringIO(), color_system=None, legacy_windows=False)
    return "".join(segment.text for segment in console.render(bar)).rstrip()


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.date(), time(tzinfo=timezone.utc))


def _in_ascii(line: str) -> str:
    return "".join(character if character.isascii() else "|" if character == "│" else "#" for character in line)
