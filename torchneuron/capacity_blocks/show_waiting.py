"""The output of `cb.wait`: a countdown on a terminal, and a line for each event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.waiting import ACTIVE, GOALS, NOTICE, Progress
from torchneuron.core import display, options
from torchneuron.core.errors import InputError
from torchneuron.core.text import duration, when

_SHOW_SECONDS_BELOW = timedelta(hours=1)


def check_goal(until: str) -> str:
    """The value of `--until`. Raises InputError for an unknown one."""
    if not until:
        raise InputError("Missing option: --until.", do=f"Add --until {' or --until '.join(GOALS)}.")
    return options.one_of("--until", until, GOALS)


@contextmanager
def reporting(reservation_id: str, until: str) -> Iterator[Callable[[Progress], None]]:
    """A `report` callback for `waiting.wait`."""
    before: Progress | None = None
    with display.waiting(f"Looking up {reservation_id}") as spinner:

        def report(progress: Progress) -> None:
            nonlocal before
            for line in events(before, progress, until):
                display.note(line)
            before = progress
            display.update_waiting(spinner, countdown(progress, until) or f"Looking up {reservation_id}")

        yield report


def events(before: Progress | None, progress: Progress, until: str) -> list[str]:
    """What changed since `before`, a line each; empty while only time passes."""
    lines = []
    was_lost = before is not None and bool(before.lost)
    if progress.lost and not was_lost:
        lines.append(f"No response from AWS; retrying until there is one. {progress.lost}")
    if was_lost and not progress.lost:
        lines.append("AWS responds again.")
    block, known = progress.block, before.block if before else None
    if block is None or progress.goal is None or block is known:
        return lines
    if known is None or before is None:
        lines.append(f"Waiting for {block.id} ({block.state}): {_goal(block, progress, until)}")
        return lines
    if block.state != known.state:
        lines.append(f"{block.id} is {block.state} now: {block.outlook}.")
    if progress.goal != before.goal:
        lines.append(f"The dates of {block.id} have changed: {_goal(block, progress, until)}")
    return lines


def countdown(progress: Progress, until: str) -> str:
    """The line that is redrawn on a terminal; empty before the first response."""
    block = progress.block
    if block is None or progress.goal is None:
        return ""
    if progress.goal <= progress.now:
        text = f"{block.id} is {block.state}, due since {when(progress.goal)}"
    elif until == ACTIVE:
        text = f"{block.id} starts in {_time_left(progress.goal - progress.now)}"
    else:
        left = _time_left(progress.goal + NOTICE - progress.now)
        text = f"{block.id}: instances are terminated in {left}; waiting until {duration(NOTICE)} before"
    return f"{text} (no response from AWS)" if progress.lost else text


def show_reached(block: Reservation) -> None:
    is_ahead = block.reclaimed is not None and block.seen < block.reclaimed
    date = f" (from {when(block.reclaimed)} on)" if is_ahead else ""
    display.say(f"{block.id} is {block.state}: {block.outlook}{date}.")


def _goal(block: Reservation, progress: Progress, until: str) -> str:
    if progress.goal is None or progress.goal <= progress.now:
        return f"{block.outlook}."
    left = duration(progress.goal - progress.now)
    if until == ACTIVE:
        return f"it starts at {when(progress.goal)}, in {left}."
    return (
        f"AWS terminates its instances from {when(block.reclaimed)} on;"
        f" the wait ends {duration(NOTICE)} before that, in {left}."
    )


def _time_left(left: timedelta) -> str:
    """A duration, with seconds in the last hour."""
    if left >= _SHOW_SECONDS_BELOW:
        return duration(left)
    minutes, seconds = divmod(int(left.total_seconds()), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
