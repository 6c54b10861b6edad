"""What `cb.wait` prints: a countdown on a terminal, a line for each thing that happened everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.waiting import ACTIVE, GOALS, NOTICE, News
from torchneuron.core import display, options
from torchneuron.core.errors import InputError
from torchneuron.core.text import duration, when

_LAST_MINUTES = timedelta(hours=1)


def goal(until: str) -> str:
    """What `--until` names. Raises InputError for what cannot be waited for."""
    if not until:
        raise InputError("--until is missing.", do=f"Say what to wait for: --until {' or --until '.join(GOALS)}.")
    return options.one_of("--until", until, GOALS)


@contextmanager
def telling(reservation_id: str, until: str) -> Iterator[Callable[[News], None]]:
    """What `waiting.wait` tells its news to."""
    before: News | None = None
    with display.waiting(f"Looking up {reservation_id}") as progress:

        def told(news: News) -> None:
            nonlocal before
            for line in events(before, news, until):
                display.note(line)
            before = news
            display.retell(progress, status(news, until) or f"Looking up {reservation_id}")

        yield told


def events(before: News | None, news: News, until: str) -> list[str]:
    """What happened since `before`, a line each: none while only time passes."""
    lines = []
    was_lost = before is not None and bool(before.lost)
    if news.lost and not was_lost:
        lines.append(f"No answer from AWS; trying again until there is one. {news.lost}")
    if was_lost and not news.lost:
        lines.append("AWS answers again.")
    block, known = news.block, before.block if before else None
    if block is None or news.goal is None or block is known:
        return lines
    if known is None or before is None:
        lines.append(f"Waiting for {block.id} ({block.state}): {_goal(block, news, until)}")
        return lines
    if block.state != known.state:
        lines.append(f"{block.id} is {block.state} now: {block.outlook}.")
    if news.goal != before.goal:
        lines.append(f"{block.id} has other dates now: {_goal(block, news, until)}")
    return lines


def status(news: News, until: str) -> str:
    """The countdown, for the line that is drawn over and over; empty before anything is known."""
    block = news.block
    if block is None or news.goal is None:
        return ""
    if news.goal <= news.now:
        text = f"{block.id} is {block.state}, due since {when(news.goal)}"
    elif until == ACTIVE:
        text = f"{block.id} starts in {_left(news.goal - news.now)}"
    else:
        left = _left(news.goal + NOTICE - news.now)
        text = f"{block.id}: instances are terminated in {left}; waiting until {duration(NOTICE)} before"
    return f"{text} (no answer from AWS)" if news.lost else text


def arrived(block: Reservation) -> None:
    """The last word: how the reservation stands now."""
    ahead = block.reclaimed is not None and block.seen < block.reclaimed
    date = f" (from {when(block.reclaimed)} on)" if ahead else ""
    display.say(f"{block.id} is {block.state}: {block.outlook}{date}.")


def _goal(block: Reservation, news: News, until: str) -> str:
    if news.goal is None or news.goal <= news.now:
        return f"{block.outlook}."
    left = duration(news.goal - news.now)
    if until == ACTIVE:
        return f"it starts at {when(news.goal)}, in {left}."
    return (
        f"AWS terminates its instances from {when(block.reclaimed)} on;"
        f" this ends {duration(NOTICE)} before that, in {left}."
    )


def _left(left: timedelta) -> str:
    """A countdown that can be seen to move in the last hour."""
    if left >= _LAST_MINUTES:
        return duration(left)
    minutes, seconds = divmod(int(left.total_seconds()), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
