"""Settings for all tests: signals, distribution over workers (`make test`), and the report of attacks."""

import os
import re
import signal

import pytest
from rich.console import Console
from rich.table import Table
from xdist.scheduler import LoadScopeScheduling


def pytest_configure():
    """Restore SIGINT. Background jobs of a shell ignore it, and so would the processes that tests send it to."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Some of these abandon hosts on purpose, others look for abandoned hosts: they must not run at the same time.
_HOST_TRACE_MODULES = (
    "tests/functional/test_hosts_traces.py",
    "tests/functional/test_rehearsal_killed.py",
    "tests/e2e/test_rehearse.py",
)


# Its tests share no fixture and take one to three minutes each, so they run on any worker.
_INDEPENDENT_MODULE = "tests/e2e/test_scenarios.py"


class _ModuleScheduling(LoadScopeScheduling):
    """Run the tests of a module, and of a deployed machine, in order on one worker, so that fixtures are created once.

    xdist's `loadgroup`, which reads marks, silently has no effect with pytest 9.2: it sets an attribute that pytest no
    longer reads.
    """

    def _split_scope(self, nodeid: str) -> str:
        module, _, test = nodeid.partition("::")
        if module == _INDEPENDENT_MODULE:
            return nodeid
        machine = re.search(r"\[(?:.+-)?(trixie|bookworm)(?:-.+)?\]$", test)
        if machine and module.startswith("tests/e2e/"):
            return machine[1]
        return "traces" if module in _HOST_TRACE_MODULES else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return _ModuleScheduling(config, log)


def pytest_collection_modifyitems(config, items):
    """Add the description of an attack to its report, and deselect long attacks unless `make check-attacks` runs."""
    thorough = bool(os.environ.get("TORCHNEURON_THOROUGH"))
    deselected = []
    for item in items:
        for mark in item.iter_markers("attack"):
            item.user_properties.append(("attack", mark.args[0]))
            if mark.kwargs.get("long") and not thorough:
                deselected.append(item)
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


def pytest_terminal_summary(terminalreporter, config):
    """Print one row per attack with `-m attack`."""
    if config.getoption("markexpr") != "attack":
        return
    table = Table("Attack", "Test", "Held", title="Attacks")
    for outcome, held in (("failed", "NO"), ("error", "not run"), ("skipped", "not run"), ("passed", "yes")):
        for report in terminalreporter.stats.get(outcome, []):
            if attack := dict(report.user_properties).get("attack"):
                table.add_row(attack, report.nodeid.rpartition("/")[2], held)
    Console(width=160).print(table)
