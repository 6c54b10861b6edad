"""What holds for all tests: Ctrl-C works, and how they are shared out when several run at once (`make test`)."""

import os
import re
import signal

import pytest
from rich.console import Console
from rich.table import Table
from xdist.scheduler import LoadScopeScheduling


def pytest_configure():
    """A background job of a shell, and every process it starts, ignores Ctrl-C: tests that send it would hang."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# The one abandons hosts on purpose, the other looks for abandoned hosts.
_ABOUT_TRACES = (
    "tests/functional/test_hosts_traces.py",
    "tests/functional/test_rehearsal_killed.py",
    "tests/e2e/test_rehearse.py",
)


# Its tests share nothing, and each takes a minute or three.
_APART = "tests/e2e/test_scenarios.py"


class _Together(LoadScopeScheduling):
    """A module's tests stay on one worker, in their order, and those on one machine do: what they share is made once.

    Only the stories, which share nothing, go wherever there is room.

    xdist's own `loadgroup` would be told by marks, but has no effect with pytest 9.2 (it writes a name that pytest no
    longer reads), and nothing says so.
    """

    def _split_scope(self, nodeid: str) -> str:
        module, _, test = nodeid.partition("::")
        if module == _APART:
            return nodeid
        machine = re.search(r"\[(?:.+-)?(trixie|bookworm)(?:-.+)?\]$", test)
        if machine and module.startswith("tests/e2e/"):
            return machine[1]
        return "traces" if module in _ABOUT_TRACES else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return _Together(config, log)


def pytest_collection_modifyitems(config, items):
    """Carry what an attack does into its report; leave long attacks to `make check-attacks`."""
    thorough = bool(os.environ.get("TORCHNEURON_THOROUGH"))
    left_out = []
    for item in items:
        for mark in item.iter_markers("attack"):
            item.user_properties.append(("attack", mark.args[0]))
            if mark.kwargs.get("long") and not thorough:
                left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter, config):
    """Print one row for each attack, when attacks were asked for by `-m attack`."""
    if config.getoption("markexpr") != "attack":
        return
    table = Table("Attack", "Test", "Held", title="Attacks")
    for outcome, held in (("failed", "NO"), ("error", "not run"), ("skipped", "not run"), ("passed", "yes")):
        for report in terminalreporter.stats.get(outcome, []):
            if what := dict(report.user_properties).get("attack"):
                table.add_row(what, report.nodeid.rpartition("/")[2], held)
    Console(width=160).print(table)
