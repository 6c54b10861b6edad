"""The setup's tasks on a host of a test's own, for what the machine that others share must not go through."""

from __future__ import annotations

import functools
import threading

from rehearsal.hosts.machine import Machine, ScriptResult
from tests.e2e.conftest import PROJECT
from torchneuron import code_server, config
from torchneuron.passwords import Hashes, hash_password
from torchneuron.setup import definition
from torchneuron.setup.render import RenderedTask, render


@functools.cache
def _hashes(password: str, instance_id: str) -> Hashes:
    return hash_password(password, instance_id=instance_id)


@functools.cache
def rendered(instance_id: str, password: str, **values: str) -> dict[str, RenderedTask]:
    """The tasks by id, as the project's settings and `values` (of the tasks' variables) make them."""
    settings = config.load(PROJECT / "config.json")
    task_file = definition.load(code_server.TASK_FILE)
    given = code_server.variables(settings, _hashes(password, instance_id)) | values
    return {task.id: task for task in render(task_file, definition.fill(task_file, given))}


def try_(host: Machine, script: str) -> ScriptResult:
    """What becomes of a script that may fail."""
    return host.run(
        script,
        environment={},
        working_directory=None,
        timeout=300,
        cancelled=threading.Event(),
        script_path="/var/lib/amazon/ssm/_script.sh",
    )


def run(host: Machine, script: str) -> str:
    """A script's standard error, else its output."""
    done = try_(host, script)
    assert done.exit_code == 0, done.stderr
    return done.stderr or done.stdout


def set_up(host: Machine, password: str, **values: str) -> dict[str, str]:
    """Run every task; what each says last."""
    tasks = rendered(host.name, password, **values)
    return {task.id: run(host, task.script(after=None)).splitlines()[-1] for task in tasks.values()}
