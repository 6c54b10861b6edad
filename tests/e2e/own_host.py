"""The setup's tasks on a separate host, for tests that would disturb the shared machine."""

from __future__ import annotations

import functools

from rehearsal.hosts.host import Host, Script, ScriptResult
from tests.e2e.conftest import PROJECT
from torchneuron.core import config
from torchneuron.setup import code_server, definition
from torchneuron.setup.references import Reference
from torchneuron.setup.render import render

GIVEN = Reference("given", "own-host")
"""The reference to the password, which `give` delivers to the host."""


@functools.cache
def scripts(password: Reference = GIVEN, **values: str) -> dict[str, str]:
    """The scripts by task id, from the project's settings and `values` of variables. Each ignores the state."""
    settings = config.load(PROJECT / "config.json")
    task_file = definition.load(code_server.TASK_FILE)
    given = code_server.variables(settings, password) | values
    tasks = render(task_file, definition.fill(task_file, given))
    return {task.id: task.script(after=None, is_first=True, forget=[task.id]) for task in tasks}


def give(host: Host, password: str) -> None:
    """Write the password to the file that the scripts read."""
    host.write_file(f"/run/torchneuron/given/{GIVEN.place}/PASSWORD", password)


def try_(host: Host, script: str) -> ScriptResult:
    """Run a script that may fail."""
    return host.run(Script(script, "/var/lib/amazon/ssm/_script.sh", 300))


def run(host: Host, script: str) -> str:
    """Run a script that has to succeed; returns its standard error or, if empty, its standard output."""
    result = try_(host, script)
    assert result.exit_code == 0, result.stderr
    return result.stderr or result.stdout


def set_up(host: Host, password: str, **values: str) -> dict[str, str]:
    """Run every task; returns the last line of output by task id."""
    give(host, password)
    return {task: run(host, script).splitlines()[-1] for task, script in scripts(**values).items()}
