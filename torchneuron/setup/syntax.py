"""Bash's own opinion of the scripts a run would send, before anything is sent."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from torchneuron.core.errors import InputError
from torchneuron.setup.render import RenderedTask


def check(tasks: Sequence[RenderedTask]) -> str:
    """Parse each task's text with `bash -n`; one line on the result. Raises InputError naming what is wrong."""
    bash = shutil.which("bash")
    if bash is None:
        return "Not checked for syntax: there is no bash on this machine."
    problems = [problem for task in tasks if (problem := _problem(bash, task))]
    if problems:
        raise InputError("Some of the scripts are not valid bash.", why="\n".join(problems))
    return f"{len(tasks)} scripts checked with bash -n: no syntax error."


def _problem(bash: str, task: RenderedTask) -> str:
    # The task's own text, which its wrapper carries as data, and the wrapper around it.
    for text in (task.body, task.script(after=None)):
        done = subprocess.run([bash, "-n"], input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"  {task.id}: {done.stderr.strip()}"
    return ""
