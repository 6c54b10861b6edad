from hypothesis import given
from hypothesis import strategies as st

from torchneuron.capacity_blocks.pacing import Pace

SECONDS = st.floats(0, 1000, allow_nan=False)


def sent(pace, idle):
    """When requests are sent that wait for their turn, and are asked for `idle` seconds after the one before."""
    now, times = 1000.0, []
    for pause in idle:
        now += pause
        now += pace.reserve(now)
        times.append(now)
    return times


def test_two_go_at_once_and_then_one_every_two_seconds():
    assert sent(Pace(), [0, 0, 0, 0, 0]) == [1000, 1000, 1002, 1004, 1006]


def test_whoever_has_waited_may_send_two_at_once_again_but_no_more():
    assert sent(Pace(), [0, 0, 0, 60, 0, 0]) == [1000, 1000, 1002, 1062, 1062, 1064]


@given(st.lists(SECONDS, min_size=1, max_size=30), st.integers(1, 5), st.floats(0.1, 10))
def test_no_stretch_of_time_has_more_than_its_share(idle, at_once, interval):
    times = sent(Pace(at_once, interval), idle)
    for first in range(len(times)):
        for last in range(first, len(times)):
            share = at_once + (times[last] - times[first]) / interval
            assert last - first + 1 <= share + 1e-6


@given(st.lists(SECONDS, min_size=1, max_size=30))
def test_nobody_waits_longer_than_an_interval_who_asks_when_served(idle):
    pace, now = Pace(), 0.0
    for pause in idle:
        now += pause
        wait = pace.reserve(now)
        assert 0 <= wait <= pace.interval + 1e-6
        now += wait
