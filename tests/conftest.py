"""What holds for all tests: Ctrl-C works, and how they are shared out when several run at once (`make test`)."""

import re
import signal

import pytest
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


class _Together(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
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
