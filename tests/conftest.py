"""What holds for all tests: Ctrl-C works, and how they are shared out when several run at once (`make test`)."""

import signal

import pytest


def pytest_configure():
    """A background job of a shell, and every process it starts, ignores Ctrl-C: tests that send it would hang."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Before xdist reads the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A module's tests stay together, and those on one machine: what they share is made once, not once a worker."""
    for item in items:
        if item.get_closest_marker("xdist_group"):
            continue
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        item.add_marker(pytest.mark.xdist_group(parameters.get("machine", item.module.__name__)))
