"""The table of `cb.list`: one row a block, laid out for a wide and for an 80-column terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from torchneuron.capacity_blocks.details import Details, Health, Unreadable
from torchneuron.capacity_blocks.reservations import NEVER_PAID, Reservation
from torchneuron.core.display import Layout
from torchneuron.core.text import local_time

_THING = "Reservation\nInstances\nZone"
_STATE = "State\nWhat comes next\nRunning on it"
# So that, with the times in local time, too, the wide layout fits 120 columns and the narrow one 80.
_STATE_BESIDE, _STATE_ABOVE = 42, 50


def layouts(found: Sequence[Details]) -> list[Layout]:
    """The same rows for a wide and for a narrow terminal: what has no room beside goes below."""
    wide = [[(_thing(one), _state(one, _STATE_BESIDE), _times(one))] for one in found]
    narrow = [[(_thing(one), f"{_state(one, _STATE_ABOVE)}\n{_times(one)}")] for one in found]
    return [Layout((_THING, _STATE, "Times (UTC)"), wide), Layout((_THING, f"{_STATE}\nTimes (UTC)"), narrow)]


def notes(found: Sequence[Details]) -> list[str]:
    """What could not be read, once each, with the reason."""
    parts = [("Running", one.instances) for one in found] + [("Health", one.health) for one in found]
    return list(dict.fromkeys(f"{name}: {part}." for name, part in parts if isinstance(part, Unreadable)))


def status(one: Reservation, between: str) -> str:
    """The state in EC2's word and ours, unless they are the same."""
    said = one.outlook.startswith(one.state.replace("-", " "))
    return one.outlook if said else f"{one.state}{between}{one.outlook}"


def health_in_words(health: Health) -> str:
    """A block's health: `interconnect impaired, 1 of 4 instances impaired`."""
    interconnect = "not known yet" if health.interconnect == "insufficient-data" else health.interconnect
    words = f"interconnect {interconnect}"
    return f"{words}, {health.unavailable} of {health.total} instances impaired" if health.unavailable else words


def _thing(found: Details) -> str:
    one = found.reservation
    return f"{one.id}\n{one.count} x {one.instance_type}\n{one.zone}"


def _state(found: Details, width: int) -> str:
    """What can be said beside the dates, in lines of at most `width`."""
    one = found.reservation
    parts = [status(one, "\n")]
    if one.is_open:
        parts.append(_use(found))
        if isinstance(found.health, Health):
            parts.append(health_in_words(found.health))
    lines = "\n".join(parts).splitlines()
    return "\n".join(textwrap.fill(line, width, subsequent_indent="  ") for line in lines)


def _use(found: Details) -> str:
    """How much of it is in use: `1 of 4 running, 1 pending, 2 free`."""
    one, instances = found.reservation, found.instances
    if isinstance(instances, Unreadable):
        return f"? of {one.count} running, {one.available} free"
    states = Counter(instance.state for instance in instances)
    others = [f"{count} {state}" for state, count in sorted(states.items()) if state != "running"]
    return ", ".join([f"{states['running']} of {one.count} running", *others, f"{one.available} free"])


def _times(found: Details) -> str:
    """The dates, each behind its name; an extension is shown until when, or from when on, it can be bought."""
    one = found.reservation
    dates: list[tuple[str, datetime | None]] = [("start", one.start)]
    if one.state not in NEVER_PAID:
        dates.append(("use until", one.reclaimed))
    dates.append(("end", one.end))
    if found.extension_window:
        opens, closes = found.extension_window
        if one.seen < opens:
            dates.append(("extend from", opens))
        elif one.seen <= closes:
            dates.append(("extend until", closes))
    return "\n".join(f"{name:<12} {_time(date)}" for name, date in dates if date)


def _time(time: datetime) -> str:
    local = local_time(time)
    return f"{time:%Y-%m-%d %H:%M} ({local})" if local else f"{time:%Y-%m-%d %H:%M}"
