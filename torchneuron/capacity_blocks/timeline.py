"""When each offering runs, drawn as one bar a line on one axis of dates.

A bar ends where AWS begins to terminate the instances: what is drawn is what can be used. Of an offering whose
segments have dates of their own, each segment has a bar.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta, timezone

from rich.bar import Bar
from rich.console import Console

from torchneuron.capacity_blocks.offerings import Offering

_DAY = timedelta(days=1)
_GAP = 2
# Below this a bar tells nothing; above it the eye no longer follows a line.
_NARROWEST, _WIDEST = 20, 120
# Days from one date of the axis to the next.
_STEPS = (1, 2, 3, 7, 14, 28, 56, 112, 224)


def lines(offerings: Sequence[Offering], width: int, *, plain: bool = False) -> list[str]:
    """The axis and a bar an offering (or a segment), each line labelled with its id and at most `width` wide.

    Dates are in UTC. `plain`: with ASCII characters only. Empty where there is no room to draw.
    """
    label_width = max((len(offering.id) for offering in offerings), default=0)
    room = min(width - label_width - _GAP, _WIDEST)
    if not offerings or room < _NARROWEST:
        return []
    first = _midnight(min(offering.start for offering in offerings))
    last = _midnight(max(offering.reclaimed for offering in offerings)) + _DAY
    drawn = [" " * (label_width + _GAP) + _axis(first, last, room)]
    for offering in offerings:
        for label, runs in _rows(offering):
            bar = _bar(*runs, first, last, room) if runs else ""
            drawn.append(f"{label:<{label_width + _GAP}}{bar}".rstrip())
    return [_in_ascii(line) for line in drawn] if plain else drawn


def _axis(first: datetime, last: datetime, room: int) -> str:
    """Dates, each behind a mark at its midnight, as close as they fit."""
    days = (last - first) // _DAY
    label_width = len("│12 Jan ")
    step = next((step for step in _STEPS if step * room >= label_width * days), _STEPS[-1])
    axis = ""
    for day in range(0, days, step):
        label = f"│{first + day * _DAY:%d %b}"
        at = day * room // days
        # Over years even the widest step is too narrow for its labels: what would run into one is left out.
        apart = not axis or at > len(axis)
        if apart and at + len(label) <= room:
            axis = axis.ljust(at) + label
    return axis


def _rows(offering: Offering) -> Iterator[tuple[str, tuple[datetime, datetime] | None]]:
    """A label, and from when to when instances can run: one for all, or one a segment where their dates differ."""
    taken_back = offering.end - offering.reclaimed
    dates = {(part.start, part.end) for part in offering.segments}
    if len(dates) <= 1:
        yield offering.id, (offering.start, offering.reclaimed)
        return
    yield offering.id, None
    for number, part in enumerate(offering.segments, 1):
        yield f"  segment {number}", (part.start, part.end - taken_back)


def _bar(start: datetime, until: datetime, first: datetime, last: datetime, room: int) -> str:
    span = (last - first) / timedelta(seconds=1)
    begin, end = ((when - first) / timedelta(seconds=1) for when in (start, until))
    # The shortest block still shows, as one character, and inside the axis.
    begin = min(begin, span - span / room)
    end = max(end, begin + span / room)
    console = Console(width=room, file=io.StringIO(), color_system=None, legacy_windows=False)
    return "".join(segment.text for segment in console.render(Bar(span, begin, end, width=room))).rstrip()


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.date(), time(tzinfo=timezone.utc))


def _in_ascii(line: str) -> str:
    return "".join(character if character.isascii() else "|" if character == "│" else "#" for character in line)
