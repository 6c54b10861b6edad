"""The parts' tallies, and the table of them at the end of a thorough run."""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.faults.tally import THOROUGH, Tally, print_summary

_TALLIES = pytest.StashKey[list[Tally]]()
_WIDTH = 150


@pytest.fixture
def tally(request):
    """Makes a part's tally: `tally("setup", harms=["ran twice", "lost"])`."""

    def make(part, *, harms, what=""):
        made = Tally(part, harms, what)
        request.config.stash.setdefault(_TALLIES, []).append(made)
        return made

    return make


def pytest_unconfigure(config):
    tallies = config.stash.get(_TALLIES, [])
    if THOROUGH and tallies:
        print_summary(tallies, Console(width=_WIDTH))
