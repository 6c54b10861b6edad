from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.capacity_fakes import START
from tests.unit.offerings_support import block, blocks, of_segments
from torchneuron.capacity_blocks.timeline import lines

WEEK = [block(f"cb-{day:08x}", start=START + timedelta(days=day)) for day in (0, 3, 1)]


def test_each_bar_stands_under_its_day():
    axis, first, last, middle = lines(WEEK, 60)
    assert axis.split() == ["│12", "Jan", "│13", "Jan", "│14", "Jan", "│15", "Jan", "│16", "Jan"]
    assert [line.split()[0] for line in (first, last, middle)] == ["cb-00000000", "cb-00000003", "cb-00000001"]
    for line, day in ((first, "12"), (last, "15"), (middle, "13")):
        begin = next(index for index in range(13, len(line)) if line[index] != " ")
        assert axis.index(f"│{day}") < begin < axis.index(f"│{int(day) + 1}")


def test_a_bar_ends_where_instances_are_terminated_not_where_the_block_ends():
    noon = block(start=START, end=START + timedelta(hours=13), duration=timedelta(hours=13))
    # The block ends half an hour past midnight; its instances at midnight.
    _, drawn = lines([noon], 22 + 96)
    assert len(drawn) == 22 + 48


def test_segments_with_dates_of_their_own_have_bars_of_their_own():
    _, whole, first, second = lines([of_segments(("us-west-2b", 12, 0, 24), ("us-west-2d", 8, 2, 24))], 80)
    assert whole == "cb-0123456789abcdef5"
    assert first.startswith("  segment 1 ")
    assert len(first) < len(second) - len(second.split()[-1])


def test_segments_of_the_same_dates_have_one_bar():
    assert len(lines([of_segments(("us-west-2b", 12, 0, 24), ("us-west-2d", 8, 0, 24))], 80)) == 2


def test_where_there_is_no_room_nothing_is_drawn():
    assert lines(WEEK, 32) == []
    assert lines([], 80) == []


@pytest.mark.parametrize("width", range(32, 120))
def test_dates_years_apart_do_not_run_into_one_another(width):
    axis, *_ = lines([block(), block(start=START + timedelta(days=640))], width) or [""]
    assert len(axis) <= width
    assert {len(date.rstrip()) for date in axis.split("│")[1:]} <= {len("12 Jan")}


@settings(deadline=None)
@given(st.lists(blocks(), min_size=1, max_size=8), st.integers(0, 200), st.booleans())
def test_every_line_is_inside_its_width_and_every_bar_is_seen(found, width, plain):
    drawn = lines(found, width, plain=plain)
    if not drawn:
        return
    assert all(len(line) <= width for line in drawn)
    labels = [line.split()[0] for line in drawn[1:] if line.startswith("cb-")]
    assert labels == [one.id for one in found]
    room = max(len(one.id) for one in found) + 2
    for line in drawn[1:]:
        bar = line[room:]
        assert len(bar.split()) == (0 if line in labels else 1)
    if plain:
        assert all(line.isascii() for line in drawn)


@settings(deadline=None)
@given(st.lists(blocks().filter(lambda one: not one.segments), min_size=2, max_size=6), st.integers(60, 200))
def test_whoever_starts_later_is_not_drawn_sooner(found, width):
    room = max(len(one.id) for one in found) + 2
    begins = [
        (one.start, len(line) - len(line[room:].lstrip()))
        for one, line in zip(found, lines(found, width)[1:], strict=True)
    ]
    places = [place for _, place in sorted(begins)]
    assert places == sorted(places)
