"""A user who runs the same purchase again and again until it reports the outcome, while anything may fail.

Used with an EC2 in memory, whose time and requests are simulated, and with the rehearsal over a real connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from torchneuron.capacity_blocks.once import SETTLE_TIME
from torchneuron.core.errors import PurchaseUnknownError, TorchNeuronError

MOST_RUNS = 100


class Killed(BaseException):
    """No code of ours runs after it, as after SIGKILL; locks are released, as the kernel does."""


class World(Protocol):
    """An AWS that fails as configured. `outcomes` are those still to come, `sent` counts the requests that buy."""

    outcomes: list[str]
    sent: int

    @property
    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...

    def made(self) -> int:
        """How many purchases took effect, whether or not they show."""


Buy = Callable[[Any, Path], str]
"""Runs the command in a world, with its journal in a folder; returns the id that it reports."""


def run_until_reported(buy: Buy, world: World, pauses: Iterable[int], state_dir: Path) -> str:
    """The id that the command finally reports. Fails when anything is bought twice, or wrongly denied."""
    pauses, error = iter(pauses), None
    for _ in range(MOST_RUNS):
        reported, error = run(buy, world, state_dir)
        assert world.made() <= 1
        if reported:
            return reported
        if isinstance(error, PurchaseUnknownError):
            assert "aws ec2 describe-capacity-" in error.do
        if not world.made() and not world.outcomes:
            # Nothing fails any more: once the outcome is certain, the same command buys.
            world.sleep(SETTLE_TIME.total_seconds())
        world.sleep(next(pauses, 60))
    raise AssertionError(f"{MOST_RUNS} runs reported nothing: {error}")


def run(buy: Buy, world: World, state_dir: Path) -> tuple[str | None, TorchNeuronError | None]:
    """One run of the command: the id it reports, or its error; neither when it was killed."""
    sent = world.sent
    try:
        return buy(world, state_dir), None
    except Killed:
        return None, None
    except TorchNeuronError as error:
        denied = "Nothing was bought" in error.what and world.sent > sent
        assert not (denied and world.made()), f"reported {error.what!r}, but it was bought"  # noqa: PT017 - no error is fine too
        return None, error
