"""`python -m benchmarks`: measure every claim, or those named.

It ends with 1 if one does not hold or could not be measured, with 2 for bad options.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import deploys, help_pages, programs, report, setup_runs, synth
from benchmarks.pairs import Measured, Pair, measure
from torchneuron.core import display
from torchneuron.core.errors import TorchNeuronError

Claim = Callable[[Path, Mapping[str, str], ExitStack], Sequence[Pair]]
"""Gets an empty folder to work in, the environment for its programs, and where to put what has to be ended."""

CLAIMS: Mapping[str, Claim] = {
    "synth": synth.pairs,
    "help": help_pages.pairs,
    "setup": setup_runs.pairs,
    "deploy": deploys.pairs,
}
_ROUNDS = 5
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None, claims: Mapping[str, Claim] = CLAIMS) -> int:
    options = _parse(arguments, claims)
    load_before = os.getloadavg()[0]
    try:
        measured = _measure([claims[name] for name in options.only or claims], options.rounds)
    except TorchNeuronError as error:
        display.show_error(error)
        return error.exit_status
    except KeyboardInterrupt:
        display.note("Interrupted: nothing is measured.")
        return _INTERRUPTED
    report.show(measured, rounds=options.rounds, load_before=load_before)
    return 0 if all(one.holds for one in measured) else 1


def _parse(arguments: Sequence[str] | None, claims: Mapping[str, Claim]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What README claims about speed, measured side by side."
    )
    parser.add_argument("--rounds", type=_count, default=_ROUNDS, help="how often each is run (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=list(claims), help="this claim only; repeatable")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _measure(claims: Sequence[Claim], rounds: int) -> list[Measured]:
    with (
        tempfile.TemporaryDirectory(prefix="benchmarks-") as name,
        ExitStack() as endings,
        display.waiting("Warming up") as spinner,
    ):
        folder = Path(name)
        environment = programs.environment(folder / "bytecode")
        pairs: list[Pair] = []
        for number, claim in enumerate(claims):
            own = folder / str(number)
            own.mkdir()
            pairs.extend(claim(own, environment, endings))

        def tell(part: str, what: str) -> None:
            # What comes first in its part: lines that stay, for where no spinner is drawn.
            if what == pairs[0].what:
                display.note(part)
            display.update_waiting(spinner, f"{part}: {what}")

        return measure(pairs, rounds, tell=tell)


if __name__ == "__main__":
    sys.exit(main())
