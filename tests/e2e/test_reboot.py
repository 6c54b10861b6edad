"""A machine that was rebooted has its editor back, with nobody's help."""

import re
import time

import pytest
from botocore.exceptions import WaiterError

from rehearsal.scenarios.login import log_in, upgrade_to_websocket


def is_new(machine):
    """Whether it has booted since the file was made: /run is empty then."""
    try:
        return "gone" in machine.on_host("test -e /run/before-the-reboot || echo gone")
    except WaiterError:  # the question went down with the machine
        return False


@pytest.fixture(scope="module")
def rebooted(machine):
    """The machine after a reboot from inside, as an update or its user would ask for."""
    machine.on_host("touch /run/before-the-reboot; systemd-run --quiet sh -c 'sleep 0.2; systemctl reboot'")
    deadline = time.monotonic() + 300
    while not is_new(machine):
        assert time.monotonic() < deadline, "the machine did not reboot"
        time.sleep(0.2)
    return machine


def test_the_last_task_finds_all_of_it(rebooted):
    told = rebooted.invoke("setup", "--start-from", "17", "--wait")
    assert re.findall(r"(\S+) +done ", told) == ["17-verify-installation"]
    assert "all is well" in told


def test_a_person_logs_in(rebooted):
    login = log_in(rebooted.port, rebooted.password)
    assert login.accepted
    assert upgrade_to_websocket(rebooted.port, login.session) == 101
