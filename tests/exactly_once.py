"""The user's side of a purchase on which anything may fail: the same command again and again, until it tells.

One suite for an EC2 in memory, whose time and requests are simulated, and for the rehearsal over a real connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from torchneuron.capacity_blocks.journal import PATIENCE
from torchneuron.core.errors import PurchaseUnknownError, TorchNeuronError

MOST_RUNS = 100


class Killed(BaseException):
    """Nothing of ours runs after it, as after SIGKILL; locks are let go, as the kernel does."""


class World(Protocol):
    """An AWS that fails as told to. `outcomes` are those still to come, `sent` counts the requests that buy."""

    outcomes: list[str]
    sent: int

    @property
    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...

    def made(self) -> int:
        """How many purchases took effect, whether or not they show."""


Buy = Callable[[Any, Path], str]
"""Runs the command in a world, with its notes in a folder; returns the id of what it says was bought."""


def run_until_told(buy: Buy, world: World, pauses: Iterable[int], state_dir: Path) -> str:
    """What the command says in the end was bought. Fails when anything was bought twice, or is denied meanwhile."""
    pauses, error = iter(pauses), None
    for _ in range(MOST_RUNS):
        told, error = run(buy, world, state_dir)
        assert world.made() <= 1
        if told:
            return told
        if isinstance(error, PurchaseUnknownError):
            assert "aws ec2 describe-capacity-" in error.do
        if not world.made() and not world.outcomes:
            # Nothing fails any more: at the latest when all is certain, the same command buys.
            world.sleep(PATIENCE.total_seconds())
        world.sleep(next(pauses, 60))
    raise AssertionError(f"{MOST_RUNS} runs did not tell: {error}")


def run(buy: Buy, world: World, state_dir: Path) -> tuple[str | None, TorchNeuronError | None]:
    """One run of the command: what it said was bought, or its error; neither when it was killed."""
    sent = world.sent
    try:
        return buy(world, state_dir), None
    except Killed:
        return None, None
    except TorchNeuronError as error:
        denied = "Nothing was bought" in error.what and world.sent > sent
        assert not (denied and world.made()), f"told {error.what!r}, but it was"  # noqa: PT017 - no error is fine too
        return None, error
