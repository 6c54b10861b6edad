"""Waiting for a block with simulated time: a fake clock, a fake network, a laptop that is suspended."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import StandIn
from tests.faults.tally import THOROUGH
from tests.unit.capacity_fakes import NOW, REGION, START, refusal, reservation
from torchneuron.capacity_blocks import show_waiting, waiting
from torchneuron.capacity_blocks.waiting import ACTIVE, ENDING, GOALS, Progress, UnreachableGoalError
from torchneuron.core.errors import AccessError, InputError, NotFoundError, UnreachableError

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
END = START + 24 * HOUR
LAST_MINUTES = END - 40 * MINUTE
"""10 minutes before AWS begins to terminate instances."""
NO_NETWORK = EndpointConnectionError(endpoint_url="https://ec2")


@dataclass
class World(StandIn):
    """AWS, the waiting machine, and events on both. `time` is AWS's; the machine's clock is `behind` it.

    `late`: how long after its start the block becomes active. `extended`: when its end moves, and by how much. `lost`:
    the intervals without a network. `suspended` and `clock_set`: how long the machine is off, or how far its clock is
    moved forward, in the nth sleep.
    """

    time: datetime = NOW
    behind: timedelta = timedelta(0)
    late: timedelta = timedelta(0)
    state: str = ""
    extended: tuple[datetime, timedelta] = (END + 999 * HOUR, HOUR)
    lost: list[tuple[datetime, datetime]] = field(default_factory=list)
    suspended: dict[int, timedelta] = field(default_factory=dict)
    clock_set: dict[int, timedelta] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    refused: Exception | None = None
    calls: int = 0
    slept: list[float] = field(default_factory=list)
    reports: list[Progress] = field(default_factory=list)

    @property
    def end(self):
        when, by = self.extended
        return END + by if self.time >= when else END

    def describe_capacity_reservations(self, CapacityReservationIds):  # noqa: N803 - boto3's own
        self.calls += 1
        self.time += timedelta(seconds=0.3)
        if any(since <= self.time < until for since, until in self.lost):
            self.time += timedelta(seconds=10)
            raise NO_NETWORK if self.calls % 2 else ReadTimeoutError(endpoint_url="https://ec2")
        if self.refused:
            raise self.refused
        found = {**reservation(CapacityReservationIds[0], self._state()), "EndDate": self.end, **self.raw}
        date = format_datetime(self.time.replace(microsecond=0), usegmt=True)
        return {"CapacityReservations": [found], "ResponseMetadata": {"HTTPHeaders": {"date": date}}}

    def _state(self):
        if self.state:
            return self.state
        if self.time >= self.end:
            return "expired"
        return "active" if self.time >= START + self.late else "scheduled"

    def sleep(self, seconds):
        assert seconds > 0
        self.time += timedelta(seconds=seconds) + self.suspended.get(len(self.slept), timedelta(0))
        self.behind -= self.clock_set.get(len(self.slept), timedelta(0))
        self.slept.append(seconds)

    def now(self):
        return self.time - self.behind

    def wait(self, until):
        return waiting.wait(self, REGION, "cr-1", until, sleep=self.sleep, now=self.now, report=self.reports.append)

    def lines(self, until):
        return [
            line
            for before, progress in zip([None, *self.reports], self.reports, strict=False)
            for line in show_waiting.events(before, progress, until)
        ]


def test_wait_sleeps_until_the_start_and_checks_once_an_hour():
    world = World()
    block = world.wait(ACTIVE)
    assert (block.state, block.id) == ("active", "cr-1")
    assert START <= world.time < START + timedelta(seconds=5)
    assert world.calls <= 50.5 + 3
    assert max(world.slept) <= 30


@pytest.mark.parametrize("behind", [-7 * HOUR, timedelta(0), timedelta(hours=31)])
@pytest.mark.parametrize(("until", "goal"), [(ACTIVE, START), (ENDING, LAST_MINUTES)])
def test_wrong_clock_on_this_machine_does_not_matter(until, goal, behind):
    world = World(behind=behind)
    world.wait(until)
    assert goal <= world.time < goal + timedelta(seconds=5)


def test_active_block_needs_one_call():
    world = World(time=START + HOUR)
    assert world.wait(ACTIVE).state == "active"
    assert (world.calls, world.slept) == (1, [])


@pytest.mark.parametrize("before_end", [40, 20, 1])
def test_ending_is_reached_until_the_end(before_end):
    world = World(time=END - before_end * MINUTE)
    assert world.wait(ENDING).state == "active"
    assert world.calls == 1


def test_late_block_is_polled_every_15_seconds():
    world = World(time=START - MINUTE, late=2 * MINUTE)
    world.wait(ACTIVE)
    assert START + 2 * MINUTE <= world.time < START + 2 * MINUTE + timedelta(seconds=17)
    assert 8 <= world.calls <= 11


def test_extension_moves_the_ending():
    world = World(time=START + HOUR, extended=(START + 20 * HOUR, 48 * HOUR))
    world.wait(ENDING)
    goal = LAST_MINUTES + 48 * HOUR
    assert goal <= world.time < goal + timedelta(seconds=5)
    assert any(line.startswith("The dates of cr-1 have changed:") for line in world.lines(ENDING))


def test_extension_at_the_last_moment_counts():
    world = World(time=START + HOUR, extended=(LAST_MINUTES - timedelta(seconds=3), 24 * HOUR))
    world.wait(ENDING)
    assert world.time >= LAST_MINUTES + 24 * HOUR


def test_ultraservers_are_reclaimed_an_hour_before_the_end():
    world = World(time=START + HOUR, raw={"InstanceType": "trn2u.48xlarge"})
    world.wait(ENDING)
    assert END - 70 * MINUTE <= world.time < END - 69 * MINUTE


def test_lost_network_is_reported_once_and_survived():
    world = World(lost=[(NOW + 3 * HOUR, NOW + 9 * HOUR)])
    world.wait(ACTIVE)
    assert START <= world.time < START + timedelta(seconds=5)
    lines = world.lines(ACTIVE)
    assert [line.split(";")[0].split(".")[0] for line in lines] == [
        "Waiting for cr-1 (scheduled): it starts at 2026-01-12 11:30 UTC, in 2 d 2 h",
        "No response from AWS",
        "AWS responds again",
        "cr-1 is active now: instances are terminated in 23 h 30 min",
    ]
    assert world.slept[world.slept.index(5.0) :][:6] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_wait_gives_up_after_a_minute_without_a_first_response():
    world = World(lost=[(NOW, END)])
    with pytest.raises(UnreachableError, match="no response from AWS"):
        world.wait(ACTIVE)
    assert world.time - NOW < 3 * MINUTE


def test_short_outage_at_the_start_is_survived():
    world = World(time=START, lost=[(START, START + timedelta(seconds=20))])
    assert world.wait(ACTIVE).state == "active"


@pytest.mark.parametrize("by", [-30 * HOUR, 30 * HOUR])
def test_clock_corrected_during_the_wait_does_not_matter(by):
    world = World(behind=-by, clock_set={50: -by})
    world.wait(ACTIVE)
    assert START <= world.time < START + timedelta(seconds=5)


def test_laptop_suspended_past_the_start_sees_it_on_resume():
    world = World(suspended={5: 60 * HOUR})
    assert world.wait(ACTIVE).state == "active"
    assert world.time < NOW + 61 * HOUR
    assert world.calls <= 3


def test_laptop_suspended_past_the_end_reports_it():
    world = World(suspended={5: 100 * HOUR})
    with pytest.raises(UnreachableGoalError, match="cr-1 has ended: it will not be active again"):
        world.wait(ACTIVE)


@pytest.mark.parametrize("until", GOALS)
@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("payment-failed", "Payment failed: AWS has released the block"),
        ("cancelled", "Cancelled"),
        ("failed", "nothing was reserved"),
        ("expired", "Ended"),
    ],
)
def test_unreachable_goal_ends_the_wait_with_the_reason(until, state, reason):
    world = World(state=state)
    with pytest.raises(UnreachableGoalError) as never:
        world.wait(until)
    assert never.value.exit_status == 1
    assert reason in never.value.why
    assert world.reports == []
    assert "invoke cb.describe --reservation-id cr-1 -r sa-east-1" in never.value.do
    assert world.calls == 1


def test_payment_that_fails_during_the_wait_ends_it():
    world = World(time=START, state="payment-pending")
    original = world.sleep

    def sleep(seconds):
        original(seconds)
        if len(world.slept) == 40:
            world.state = "payment-failed"

    world.sleep = sleep
    with pytest.raises(UnreachableGoalError, match="cr-1 will never be active: it is payment-failed"):
        world.wait(ACTIVE)


def test_wait_for_a_block_that_is_never_provided_ends_when_it_is_reclaimed():
    world = World(time=START, state="unavailable")
    with pytest.raises(UnreachableGoalError, match="can no longer be used"):
        world.wait(ACTIVE)
    assert END - 30 * MINUTE <= world.time < END - 28 * MINUTE
    assert world.calls < 24 * 60 + 40


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("RequestExpired", AccessError),
        ("UnauthorizedOperation", AccessError),
        ("InvalidCapacityReservationId.NotFound", NotFoundError),
    ],
)
def test_error_that_no_retry_fixes_ends_the_wait(code, kind):
    world = World()
    original = world.sleep

    def sleep(seconds):
        original(seconds)
        if world.time > NOW + 2 * HOUR:
            world.refused = refusal(code)

    world.sleep = sleep
    with pytest.raises(kind) as ended:
        world.wait(ACTIVE)
    assert ended.value.exit_status == 2


def test_throttled_call_is_retried():
    world = World(time=START, refused=refusal("RequestLimitExceeded"))
    original = world.sleep

    def sleep(seconds):
        original(seconds)
        world.refused = None

    world.sleep = sleep
    assert world.wait(ACTIVE).state == "active"


def test_on_demand_reservation_has_no_ending():
    with pytest.raises(InputError, match="not a Capacity Block"):
        World(time=START, raw={"ReservationType": "default"}).wait(ENDING)
    assert World(time=START, raw={"ReservationType": "default", "EndDate": None}).wait(ACTIVE).state == "active"


def hours(most):
    return st.floats(0, most).map(lambda number: timedelta(hours=number))


def durations_by_sleep(most):
    """Durations by the number of the sleep they happen in."""
    return st.dictionaries(st.integers(0, 600), hours(most), max_size=4)


outages = st.lists(st.tuples(hours(60).map(lambda since: NOW + HOUR + since), hours(10)), max_size=3)
clock_steps = st.one_of(
    st.integers(-48, 48).map(lambda number: number * HOUR / 2), st.floats(-70, 70).map(lambda number: number * SECOND)
)
worlds = st.builds(
    World,
    time=hours(70).map(lambda gone: NOW + gone),
    behind=st.floats(-100, 100).map(lambda number: timedelta(hours=number)),
    late=hours(1),
    extended=st.tuples(hours(72).map(lambda since: NOW + since), hours(48)),
    lost=outages.map(lambda listed: [(since, since + lasting) for since, lasting in listed]),
    suspended=durations_by_sleep(30),
    clock_set=st.dictionaries(st.integers(0, 600), clock_steps, max_size=4),
)


# An example simulates up to three days, second by second.
@settings(deadline=None, max_examples=100 if THOROUGH else 25)
@given(worlds, st.sampled_from(GOALS))
def test_wait_ends_in_time_and_with_few_calls_whatever_happens(world, until):
    begun = world.time
    without_network = sum(((till - since) for since, till in world.lost), timedelta(0))
    away = without_network + sum(world.suspended.values(), timedelta(0))
    moments = len(world.suspended) + len(world.clock_set) + len(world.lost)
    try:
        world.wait(until)
        if until == ACTIVE:
            assert world._state() == "active"
        else:
            assert world.time >= world.end - 40 * MINUTE
        due = START + world.late if until == ACTIVE else world.end - 40 * MINUTE
        # A clock set back by seconds goes unnoticed, and a late block is polled once a minute.
        assert world.time <= max(begun, due) + away + len(world.clock_set) * 70 * SECOND + 3 * MINUTE
    except UnreachableGoalError:
        # A block that is active only in its last 30 minutes can no longer be used.
        assert world.time >= world.end - (30 * MINUTE if until == ACTIVE else timedelta(0))
    except UnreachableError:
        assert world.reports[-1].block is None
    looks = (world.time - begun) / HOUR + 10 * 4 + 61  # hourly, and late for at most one hour
    tries = without_network / MINUTE + 10 * len(world.lost)
    assert world.calls <= looks + tries + 2 * moments + 5


def test_countdown_moves_and_reports_problems(in_zone):
    in_zone("UTC")
    world = World(time=START - HOUR)
    world.wait(ACTIVE)
    shown = [show_waiting.countdown(progress, ACTIVE) for progress in world.reports]
    assert shown[0] == "cr-1 starts in 1 h"
    assert "cr-1 starts in 30 min 00 s" in shown
    assert "cr-1 starts in 9 s" in shown
    first = world.reports[0]
    late = replace(first, now=START + MINUTE, lost="gone")
    assert show_waiting.countdown(late, ACTIVE) == (
        "cr-1 is scheduled, due since 2026-01-12 11:30 UTC (no response from AWS)"
    )
    assert show_waiting.countdown(replace(first, block=None, goal=None), ACTIVE) == ""


def test_countdown_to_the_ending_counts_to_the_termination(in_zone):
    in_zone("UTC")
    world = World(time=END - 3 * HOUR)
    world.wait(ENDING)
    assert world.lines(ENDING) == [
        "Waiting for cr-1 (active): AWS terminates its instances from 2026-01-13 11:00 UTC on;"
        " the wait ends 10 min before that, in 2 h 20 min."
    ]
    assert show_waiting.countdown(world.reports[0], ENDING) == (
        "cr-1: instances are terminated in 2 h 30 min; waiting until 10 min before"
    )


def test_result_says_until_when(capsys, in_zone):
    in_zone("UTC")
    show_waiting.show_reached(World(time=START).wait(ACTIVE))
    assert capsys.readouterr().out == (
        "cr-1 is active: instances are terminated in 23 h 30 min (from 2026-01-13 11:00 UTC on).\n"
    )


def test_unknown_goal_is_refused():
    with pytest.raises(InputError, match="Missing option: --until"):
        show_waiting.check_goal("")
    with pytest.raises(InputError, match="no --until 'activ'"):
        show_waiting.check_goal("activ")


@pytest.mark.parametrize(
    ("before_end", "reason"), [(30, "can no longer be used"), (1, "can no longer be used"), (0, "ended")]
)
def test_block_that_is_being_reclaimed_will_not_be_active(before_end, reason):
    with pytest.raises(UnreachableGoalError, match=f"{reason}: it will not be active again"):
        World(time=END - before_end * MINUTE).wait(ACTIVE)


def test_block_with_a_minute_left_is_active():
    assert World(time=END - 31 * MINUTE).wait(ACTIVE).state == "active"
