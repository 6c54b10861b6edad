"""The setup's tasks on a host of a test's own, for what the machine that others share must not go through."""

from __future__ import annotations

import functools

from rehearsal.hosts.host import Host, Script, ScriptResult
from tests.e2e.conftest import PROJECT
from torchneuron.core import config
from torchneuron.setup import code_server, definition
from torchneuron.setup.references import Reference
from torchneuron.setup.render import render

GIVEN = Reference("given", "own-host")
"""Where the machine finds the password, as if it had been delivered."""


@functools.cache
def scripts(password: Reference = GIVEN, **values: str) -> dict[str, str]:
    """Each task's script by the task's id, as the project's settings and `values` (of the tasks' variables) make it.

    It runs whatever has run before.
    """
    settings = config.load(PROJECT / "config.json")
    task_file = definition.load(code_server.TASK_FILE)
    given = code_server.variables(settings, password) | values
    tasks = render(task_file, definition.fill(task_file, given))
    return {task.id: task.script(after=None, is_first=True, forget=[task.id]) for task in tasks}


def give(host: Host, password: str) -> None:
    """Have the password where the scripts look for it."""
    host.write_file(f"/run/torchneuron/given/{GIVEN.place}/PASSWORD", password)


def try_(host: Host, script: str) -> ScriptResult:
    """What becomes of a script that may fail."""
    return host.run(Script(script, "/var/lib/amazon/ssm/_script.sh", 300))


def run(host: Host, script: str) -> str:
    """A script's standard error, else its output."""
    done = try_(host, script)
    assert done.exit_code == 0, done.stderr
    return done.stderr or done.stdout


def set_up(host: Host, password: str, **values: str) -> dict[str, str]:
    """Run every task; what each says last."""
    give(host, password)
    return {task: run(host, script).splitlines()[-1] for task, script in scripts(**values).items()}
