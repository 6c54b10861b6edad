"""After a reboot the editor is available again without intervention."""

import re
import time

import pytest
from botocore.exceptions import WaiterError

from rehearsal.scenarios.login import log_in, upgrade_to_websocket


def has_rebooted(machine):
    """Whether the file in /run is gone, which a reboot empties."""
    try:
        return "gone" in machine.on_host("test -e /run/before-the-reboot || echo gone")
    except WaiterError:  # the command was stopped by the reboot
        return False


@pytest.fixture(scope="module")
def rebooted(machine):
    """The machine after a reboot from inside, as by an update or its user."""
    machine.on_host("touch /run/before-the-reboot; systemd-run --quiet sh -c 'sleep 0.2; systemctl reboot'")
    deadline = time.monotonic() + 300
    while not has_rebooted(machine):
        assert time.monotonic() < deadline, "the machine did not reboot"
        time.sleep(0.2)
    return machine


def test_verification_passes_after_a_reboot(rebooted):
    output = rebooted.invoke("setup", "--start-from", "17", "--wait")
    assert re.findall(r"(\S+) +done ", output) == ["17-verify-installation"]
    assert "all is well" in output


def test_login_and_websocket_work_after_a_reboot(rebooted):
    login = log_in(rebooted.port, rebooted.password)
    assert login.accepted
    assert upgrade_to_websocket(rebooted.port, login.session) == 101
