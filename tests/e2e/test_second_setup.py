"""Repeating the setup on a machine changes no files, and code-server still works."""

import re

import pytest

from rehearsal.scenarios.login import log_in, upgrade_to_websocket

# Paths that may change. The test compares the rest of the root disk.
CHANGES = {
    "/var/log": "logs, the journal and nginx's access log",
    "/var/lib/amazon/ssm": "the scripts that the agent received",
    "/var/lib/dpkg/status-old": "the backup of dpkg's status, written when it checks that all packages are configured",
    "/var/lib/systemd/timers": "when timers last ran",
    "/var/lib/apt/periodic": "when apt's timers last ran",
    "/work/.local/share/code-server/logs": "a folder for each start of the editor",
    "/work/.local/share/code-server/coder-logs": "the standard output of the editor",
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
    """The output of the second run, and the lines of the snapshot that it changed."""
    machine.on_host(f"{SNAPSHOT} snapshot >/run/before")
    output = machine.invoke("setup", "--clean-state")
    changed = machine.on_host(
        f"{SNAPSHOT} snapshot >/run/after; diff /run/before /run/after | grep '^[<>]'; wc -l </run/after"
    )
    *lines, count = changed.splitlines()
    assert int(count) > 20_000
    return output, lines


def test_no_file_owner_or_mode_changed(twice):
    _, changed = twice
    assert changed == []


def test_every_task_ran_again(twice):
    output, _ = twice
    assert len(re.findall(r"^ +\[ ?\d+/17\] \S+ +done ", output, flags=re.MULTILINE)) == 17
    assert "(new: none)" in output
    assert "0 stale Neuron apt sources removed" in output
    assert "all is well: log in at port 80" in output


def test_services_run_and_login_works(twice, machine):
    state = machine.on_host("systemctl is-active nginx code-server@coder; systemctl --failed --no-legend --plain")
    assert state.split() == ["active", "active"]
    login = log_in(machine.port, machine.password)
    assert login.accepted
    assert upgrade_to_websocket(machine.port, login.session) == 101
