"""Waiting for a block to become active, or for the last minutes of it, for as long as that takes.

A block starts days after it was bought, and ends days after that. So this sleeps to a date that is known and asks AWS
seldom; the answer that ends it is always a fresh one. What happens to a laptop meanwhile is expected: it is suspended,
its clock is wrong or put right, its network goes and comes back. AWS's clock is the one that counts: how far this
machine's is off is taken from each answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from torchneuron.aws.errors import may_pass
from torchneuron.capacity_blocks import reservations
from torchneuron.capacity_blocks.once import Clock, Sleep
from torchneuron.capacity_blocks.reservations import GONE, Reservation
from torchneuron.core.errors import AwsError, InputError, TorchNeuronError
from torchneuron.core.text import quoted, when

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ACTIVE, ENDING = "active", "ending"
GOALS = (ACTIVE, ENDING)
"""What can be waited for: the state `active`, and the minutes before instances are terminated."""

NOTICE = timedelta(minutes=10)
"""`ending` is this long before AWS begins to terminate the instances."""

# An extension moves the end, so even a date that is known is looked at again.
_LONGEST_WITHOUT_A_LOOK = timedelta(hours=1)
# A block that is due becomes active within minutes as a rule; whatever keeps it longer is in no hurry.
_POLL, _SLOW_POLL = timedelta(seconds=15), timedelta(seconds=60)
_POLLED_QUICKLY = timedelta(minutes=10)
# Between tries while AWS cannot be reached.
_FIRST_RETRY, _SLOWEST_RETRY = 5.0, 60.0
# Seconds without any answer at all, after which the command has been given a wrong network rather than lost it.
_PATIENCE_AT_FIRST = 60.0
# Slices of sleep, in seconds: a machine that wakes up, or whose clock was put right, sees it after one of them.
_SHORTEST_SLICE, _LONGEST_SLICE = 1.0, 30.0
# A slice that took longer than this, or less than no time, was no ordinary sleep.
_JUMP = timedelta(seconds=60)


class NeverError(TorchNeuronError):
    """What is waited for will not come any more."""


@dataclass(frozen=True)
class News:
    """How the wait stands at `now`, AWS's time: what is told whenever there may be something to show.

    `block` is as it was last seen, None before the first answer; `goal` is the date waited for, None before that, too.
    `lost` says why AWS cannot be reached at the moment, and is empty while it can.
    """

    block: Reservation | None
    goal: datetime | None
    now: datetime
    lost: str = ""


def wait(
    ec2: EC2Client,
    region: str,
    reservation_id: str,
    until: str,
    *,
    sleep: Sleep,
    now: Clock,
    told: Callable[[News], None],
) -> Reservation:
    """Wait until the reservation is active, or until 10 minutes before its instances are terminated.

    `until` is one of `GOALS`. `now` is this machine's clock, right or wrong. `ec2` should not retry by itself: lost
    answers are told of and asked for again here, without an end once there has been one.

    Returns the reservation as it was when the goal was reached, at once when that is past but the block is not. Raises
    NeverError when it cannot be reached any more, NotFoundError when there is no such reservation, InputError for the
    end of one that is not a Capacity Block, AccessError when the credentials expire.
    """
    watch = _Watch(ec2, region, reservation_id, until, sleep, now, told)
    while True:
        block = watch.look()
        if reached(block, until):
            return block
        watch.sleep_until(_next_look(block, until))


def goal(block: Reservation, until: str) -> datetime:
    """The date to wait for, by what is known of the block. Raises InputError for one whose end takes nothing away."""
    if until == ACTIVE:
        return block.start
    if block.reclaimed is None:
        raise InputError(
            f"{block.id} is not a Capacity Block: AWS terminates no instances at its end.",
            do="Wait for the end of a block. invoke cb.list shows those you have.",
        )
    return block.reclaimed - NOTICE


def reached(block: Reservation, until: str) -> bool:
    """Whether the reservation, as it was seen, is where the wait ends."""
    return block.state == "active" and (until == ACTIVE or block.seen >= goal(block, until))


def check_possible(block: Reservation, until: str) -> None:
    """Raise NeverError when the reservation, as it was seen, will not get there any more."""
    # What AWS takes back is still active for a while, but nobody can begin to use it.
    last = block.reclaimed if until == ACTIVE else None
    over = any(date is not None and block.seen >= date for date in (last, block.end))
    if block.state not in GONE and not over:
        return
    if block.state == "expired" or block.state not in GONE:
        ended = "has ended" if block.end and block.seen >= block.end else "can no longer be used"
        what = f"{block.id} {ended}: it will not be {until} again."
    else:
        what = f"{block.id} will never be {until}: it is {block.state}."
    outlook = block.outlook[:1].upper() + block.outlook[1:]
    times = f"It was to start at {when(block.start)}" + (f" and to end at {when(block.end)}" if block.end else "")
    raise NeverError(
        what,
        why=f"{outlook}. {times}.",
        do=f"invoke cb.describe --reservation-id {quoted(block.id)} -r {block.region} shows it in full;"
        f" invoke cb.list -r {block.region} shows the others.",
    )


def _next_look(block: Reservation, until: str) -> datetime:
    """When to look at the reservation again, by AWS's clock."""
    date = goal(block, until)
    if block.seen < date:
        return min(date, block.seen + _LONGEST_WITHOUT_A_LOOK)
    return block.seen + (_POLL if block.seen < date + _POLLED_QUICKLY else _SLOW_POLL)


@dataclass
class _Watch:
    """One reservation, looked at again and again, with what is known between the looks."""

    ec2: EC2Client
    region: str
    reservation_id: str
    until: str
    sleep: Sleep
    now: Clock
    told: Callable[[News], None]
    block: Reservation | None = None
    ahead: timedelta = field(default_factory=timedelta)
    """How far AWS's clock is ahead of this machine's."""
    lost: str = ""

    def look(self) -> Reservation:
        """The reservation as it is now, however long it takes to get an answer. Raises as `wait` does."""
        pause, waited = _FIRST_RETRY, 0.0
        while True:
            try:
                block = reservations.describe(self.ec2, self.region, self.reservation_id)
            except AwsError as error:
                if not may_pass(error) or (self.block is None and waited >= _PATIENCE_AT_FIRST):
                    raise
                self.lost = error.why or error.what
            else:
                # Of what will never come, nothing is told but that.
                check_possible(block, self.until)
                self.block, self.lost = block, ""
                # The date of an answer is in whole seconds, rounded down: what is worked out from it is never early.
                self.ahead = block.seen - self.now()
                self._tell()
                return block
            self._tell()
            self.sleep(pause)
            pause, waited = min(pause * 2, _SLOWEST_RETRY), waited + pause

    def sleep_until(self, date: datetime) -> None:
        """Sleep until `date`, AWS's time, or until this machine's clock has jumped."""
        while (left := (date - self._aws_now()).total_seconds()) > 0:
            self._tell()
            before = self.now()
            slice_ = min(left, max(_SHORTEST_SLICE, min(left / 60, _LONGEST_SLICE)))
            self.sleep(slice_)
            passed = self.now() - before
            if passed < timedelta(0) or passed > timedelta(seconds=slice_) + _JUMP:
                return

    def _aws_now(self) -> datetime:
        return self.now() + self.ahead

    def _tell(self) -> None:
        date = goal(self.block, self.until) if self.block else None
        self.told(News(self.block, date, self._aws_now(), self.lost))
