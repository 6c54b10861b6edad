"""Two ways to do the same work, timed by turns.

By turns, so that a machine that is busy for a while is busy for both. And whole rounds of all pairs rather than one
pair after the other, so that no claim is measured in one bad minute only.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torchneuron.core.errors import TorchNeuronError

Work = Callable[[], float | None]
"""Does the work once, and returns its seconds if those are not its duration. Raises BenchmarkError if it fails."""


class BenchmarkError(TorchNeuronError):
    """Something could not be measured: no figure is better than a wrong one."""


def _nothing() -> None:
    """For ways that leave nothing behind to compare."""


@dataclass(frozen=True)
class Pair:
    """Our way and the usual way; the claim is that ours takes `at_most` times as long.

    `against` is what people read of the usual way. `compare` is called whenever both have run, and raises
    BenchmarkError if they did not do the same. One that is `slow` takes so long that it is run in one round only, and
    is the longer for it the less moved by what else the machine does. `remark` has more to say of it at the end.
    """

    what: str
    against: str
    ours: Work
    usual: Work
    at_most: float
    compare: Work = _nothing
    slow: bool = False
    remark: Callable[[], str] = str


@dataclass(frozen=True)
class Figures:
    """The shortest and the median of some times, or how those of two ways relate."""

    shortest: float
    median: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Figures:
        return cls(min(seconds), statistics.median(seconds))

    def over(self, other: Figures) -> Figures:
        return Figures(self.shortest / other.shortest, self.median / other.median)


@dataclass(frozen=True)
class Measured:
    """What both ways of a pair took, in seconds."""

    pair: Pair
    ours: Figures
    usual: Figures

    @property
    def ratio(self) -> Figures:
        return self.ours.over(self.usual)

    @property
    def holds(self) -> bool:
        """By the shortest times: other work on the machine can only add to a time, never take from it."""
        return self.ratio.shortest <= self.pair.at_most


def measure(
    pairs: Sequence[Pair],
    rounds: int,
    *,
    tell: Callable[[str, str], None],
    clock: Callable[[], float] = time.perf_counter,
) -> list[Measured]:
    """Run every pair `rounds` times. `tell` is told the round and the pair under way.

    A round before them is not counted: it fills what every later run finds filled (byte code, jsii's cache, the
    system's own), and it finds what fails or differs before minutes have gone into the rest.
    """
    seconds: list[tuple[list[float], list[float]]] = [([], []) for _ in pairs]
    for number in range(rounds + 1):
        name = f"Round {number} of {rounds}" if number else "Warming up"
        for pair, (ours, usual) in zip(pairs, seconds, strict=True):
            if pair.slow and number != 1:
                continue
            tell(name, pair.what)
            took_ours = _timed(pair.ours, clock)
            took_usual = _timed(pair.usual, clock)
            pair.compare()
            if number:
                ours.append(took_ours)
                usual.append(took_usual)
    return [
        Measured(pair, Figures.of(ours), Figures.of(usual)) for pair, (ours, usual) in zip(pairs, seconds, strict=True)
    ]


def _timed(work: Work, clock: Callable[[], float]) -> float:
    begin = clock()
    seconds = work()
    return clock() - begin if seconds is None else seconds
