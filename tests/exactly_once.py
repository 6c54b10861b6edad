"""Repeats a purchase until it reports its outcome, while requests fail, and checks that it buys at most once.

Used with an in-memory EC2 with simulated time and requests, and with the rehearsal over a real connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from torchneuron.capacity_blocks.once import SETTLE_TIME
from torchneuron.core.errors import PurchaseUnknownError, TorchNeuronError

MAX_RUNS = 100


class Killed(BaseException):
    """Simulates SIGKILL: the command runs no further code, and its locks are released."""


class World(Protocol):
    """An AWS that fails as configured: `outcomes` belong to the next purchase requests, `sent` counts requests."""

    outcomes: list[str]
    sent: int

    @property
    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...

    def made(self) -> int:
        """The number of purchases that took effect, visible or not."""


Buy = Callable[[Any, Path], str]
"""Runs the command in a world, with its journal in a folder, and returns the id that it reports."""


def run_until_reported(buy: Buy, world: World, pauses: Iterable[int], state_dir: Path) -> str:
    """Repeat the command until it reports an id. Fails when it buys twice or wrongly reports no purchase."""
    pauses, error = iter(pauses), None
    for _ in range(MAX_RUNS):
        reported, error = run(buy, world, state_dir)
        assert world.made() <= 1
        if reported:
            return reported
        if isinstance(error, PurchaseUnknownError):
            assert "aws ec2 describe-capacity-" in error.do
        if not world.made() and not world.outcomes:
            # No failures are left: once the outcome is certain, the same command buys.
            world.sleep(SETTLE_TIME.total_seconds())
        world.sleep(next(pauses, 60))
    raise AssertionError(f"{MAX_RUNS} runs reported no id: {error}")


def run(buy: Buy, world: World, state_dir: Path) -> tuple[str | None, TorchNeuronError | None]:
    """Run the command once; returns the id it reports or its error, or neither when it was killed."""
    sent = world.sent
    try:
        return buy(world, state_dir), None
    except Killed:
        return None, None
    except TorchNeuronError as error:
        denied = "Nothing was bought" in error.what and world.sent > sent
        assert not (denied and world.made()), f"reported {error.what!r}, but it was bought"  # noqa: PT017 - success is valid too
        return None, error
