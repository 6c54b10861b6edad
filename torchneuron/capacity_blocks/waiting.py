"""Waiting until a block is active or about to end, however long that takes.

A block starts days after it was bought and ends days after that. The wait sleeps until the known date and calls AWS
rarely; the response that ends it is always a fresh one. Meanwhile a laptop may be suspended, its clock may be wrong or
corrected, its network may go and come back. AWS's clock counts: each response gives the offset of this machine's.
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

# An extension moves the end, so even a known date is checked again.
_LONGEST_BETWEEN_CHECKS = timedelta(hours=1)
# A due block usually becomes active within minutes. After that, polling slows down.
_POLL, _SLOW_POLL = timedelta(seconds=15), timedelta(seconds=60)
_POLLED_QUICKLY = timedelta(minutes=10)
# Seconds between retries while AWS cannot be reached.
_FIRST_RETRY, _LONGEST_RETRY = 5.0, 60.0
# Seconds without a first response, after which the network is probably misconfigured rather than interrupted.
_FIRST_RESPONSE_TIMEOUT = 60.0
# Seconds per sleep: after a suspend or a clock correction, the wait notices it at the end of one.
_SHORTEST_SLEEP, _LONGEST_SLEEP = 1.0, 30.0
# A sleep that took this much longer, or less than no time, means a suspend or a clock correction.
_JUMP = timedelta(seconds=60)


class UnreachableGoalError(TorchNeuronError):
    """The reservation will not reach what is waited for any more."""


@dataclass(frozen=True)
class Progress:
    """The state of the wait at `now`, AWS's time.

    `block` is as last seen, and `goal` the date waited for; both are None before the first response. `lost` says why
    AWS cannot be reached at the moment, and is empty while it can.
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
    report: Callable[[Progress], None],
) -> Reservation:
    """Wait until the reservation is active, or until 10 minutes before its instances are terminated.

    `until` is one of `GOALS`. `now` is this machine's clock, which may be wrong. `ec2` should not retry by itself: lost
    responses are reported and retried here, without limit once there has been a first response.

    Returns the reservation as of reaching the goal. Raises UnreachableGoalError when it cannot be reached any more,
    NotFoundError for an unknown reservation, InputError for the end of an on-demand reservation, AccessError when the
    credentials expire.
    """
    watch = _Watch(ec2, region, reservation_id, until, sleep, now, report)
    while True:
        block = watch.look()
        if is_reached(block, until):
            return block
        watch.sleep_until(_next_check(block, until))


def goal(block: Reservation, until: str) -> datetime:
    """The date to wait for. Raises InputError for the end of an on-demand reservation."""
    if until == ACTIVE:
        return block.start
    if block.reclaimed is None:
        raise InputError(
            f"{block.id} is not a Capacity Block: AWS terminates no instances at its end.",
            do="Wait for the end of a block. To list your blocks: invoke cb.list",
        )
    return block.reclaimed - NOTICE


def is_reached(block: Reservation, until: str) -> bool:
    """Whether the wait ends with the reservation as it was seen."""
    return block.state == "active" and (until == ACTIVE or block.seen >= goal(block, until))


def check_possible(block: Reservation, until: str) -> None:
    """Raise UnreachableGoalError when the reservation, as it was seen, will not reach the goal any more."""
    # A block that AWS is reclaiming is still active for a while, but nothing can be launched on it.
    last = block.reclaimed if until == ACTIVE else None
    is_over = any(date is not None and block.seen >= date for date in (last, block.end))
    if block.state not in GONE and not is_over:
        return
    if block.state == "expired" or block.state not in GONE:
        ended = "has ended" if block.end and block.seen >= block.end else "can no longer be used"
        what = f"{block.id} {ended}: it will not be {until} again."
    else:
        what = f"{block.id} will never be {until}: it is {block.state}."
    outlook = block.outlook[:1].upper() + block.outlook[1:]
    end = f", and its end {when(block.end)}" if block.end else ""
    raise UnreachableGoalError(
        what,
        why=f"{outlook}. Its start was {when(block.start)}{end}.",
        do=f"See it in full: invoke cb.describe --reservation-id {quoted(block.id)} -r {block.region}\n"
        f"List the others: invoke cb.list -r {block.region}",
    )


def _next_check(block: Reservation, until: str) -> datetime:
    """When to look at the reservation again, by AWS's clock."""
    date = goal(block, until)
    if block.seen < date:
        return min(date, block.seen + _LONGEST_BETWEEN_CHECKS)
    return block.seen + (_POLL if block.seen < date + _POLLED_QUICKLY else _SLOW_POLL)


@dataclass
class _Watch:
    """Looks at one reservation repeatedly, and keeps what is known in between."""

    ec2: EC2Client
    region: str
    reservation_id: str
    until: str
    sleep: Sleep
    now: Clock
    report: Callable[[Progress], None]
    block: Reservation | None = None
    clock_offset: timedelta = field(default_factory=timedelta)
    """How far AWS's clock is ahead of this machine's."""
    lost: str = ""

    def look(self) -> Reservation:
        """The reservation as it is now, however long the response takes. Raises as `wait` does."""
        delay, waited = _FIRST_RETRY, 0.0
        while True:
            try:
                block = reservations.describe(self.ec2, self.region, self.reservation_id)
            except AwsError as error:
                if not may_pass(error) or (self.block is None and waited >= _FIRST_RESPONSE_TIMEOUT):
                    raise
                self.lost = error.why or error.what
            else:
                check_possible(block, self.until)
                self.block, self.lost = block, ""
                # A response's date is in whole seconds, rounded down, so dates derived from it are never early.
                self.clock_offset = block.seen - self.now()
                self._report()
                return block
            self._report()
            self.sleep(delay)
            delay, waited = min(delay * 2, _LONGEST_RETRY), waited + delay

    def sleep_until(self, date: datetime) -> None:
        """Sleep until `date`, AWS's time, or until this machine's clock jumps."""
        while (left := (date - self._aws_now()).total_seconds()) > 0:
            self._report()
            before = self.now()
            seconds = min(left, max(_SHORTEST_SLEEP, min(left / 60, _LONGEST_SLEEP)))
            self.sleep(seconds)
            passed = self.now() - before
            if passed < timedelta(0) or passed > timedelta(seconds=seconds) + _JUMP:
                return

    def _aws_now(self) -> datetime:
        return self.now() + self.clock_offset

    def _report(self) -> None:
        date = goal(self.block, self.until) if self.block else None
        self.report(Progress(self.block, date, self._aws_now(), self.lost))
