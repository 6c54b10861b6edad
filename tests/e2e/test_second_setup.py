"""The setup run over a machine that has it already leaves everything as it was, and working."""

import re

import pytest

from rehearsal.scenarios.login import log_in, upgrade_to_websocket

# What may differ; everything else on the root disk may not: found by comparing all of it, not by a list of what the
# tasks write.
CHANGES = {
    "/var/log": "logs, the journal, and what nginx was asked",
    "/var/lib/amazon/ssm": "the scripts as the agent got them",
    "/var/lib/dpkg/status-old": "dpkg's copy of its list, which it makes when asked whether all is configured",
    "/var/lib/systemd/timers": "when timers last ran",
    "/var/lib/apt/periodic": "the same, of apt's",
    "/work/.local/share/code-server/logs": "a folder for each start of the editor",
    "/work/.local/share/code-server/coder-logs": "its standard output",
    "/work/.local/share/code-server/heartbeat": "when the editor was last in use",
}
# Path, kind, mode, owner and target of everything; then the checksum of every file.
SNAPSHOT = f"""
everything() {{ find / -xdev \\( {" -o ".join(f"-path {path}" for path in CHANGES)} \\) -prune -o "$@"; }}
snapshot() {{
  everything -printf '%p %y %M %u:%g %l\\n' | LC_ALL=C sort
  everything -type f -print0 | xargs -0 -P 2 -n 500 sha256sum | LC_ALL=C sort -k 2
}}
"""


@pytest.fixture(scope="module")
def twice(machine):
    """What the second run told, and which lines of the snapshot it changed."""
    machine.on_host(f"{SNAPSHOT} snapshot >/run/before")
    told = machine.invoke("setup", "--clean-state")
    changed = machine.on_host(
        f"{SNAPSHOT} snapshot >/run/after; diff /run/before /run/after | grep '^[<>]'; wc -l </run/after"
    )
    *lines, count = changed.splitlines()
    assert int(count) > 20_000
    return told, lines


def test_no_file_is_another_and_none_has_another_owner_or_mode(twice):
    _, changed = twice
    assert changed == []


def test_every_task_ran_again(twice):
    told, _ = twice
    assert len(re.findall(r"^ +\[ ?\d+/17\] \S+ +done ", told, flags=re.MULTILINE)) == 17
    assert "(new: none)" in told
    assert "0 stale Neuron apt sources removed" in told
    assert "all is well: log in at port 80" in told


def test_the_services_are_up_and_a_person_logs_in(twice, machine):
    state = machine.on_host("systemctl is-active nginx code-server@coder; systemctl --failed --no-legend --plain")
    assert state.split() == ["active", "active"]
    login = log_in(machine.port, machine.password)
    assert login.accepted
    assert upgrade_to_websocket(machine.port, login.session) == 101
