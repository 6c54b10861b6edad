"""The tallies of all parts, printed as a table at the end of a thorough run."""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.faults.tally import THOROUGH, Tally, print_summary

_TALLIES = pytest.StashKey[list[Tally]]()
_WIDTH = 150


@pytest.fixture
def tally(request):
    """Creates the tally of a part: `tally("setup", violations=["ran twice", "lost"])`."""

    def make(part, *, violations, what=""):
        made = Tally(part, violations, what)
        request.config.stash.setdefault(_TALLIES, []).append(made)
        return made

    return make


def pytest_unconfigure(config):
    tallies = config.stash.get(_TALLIES, [])
    if THOROUGH and tallies:
        print_summary(tallies, Console(width=_WIDTH))
