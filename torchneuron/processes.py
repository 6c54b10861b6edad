"""Child processes that must not be abandoned half way.

Ctrl-C reaches a child as well, from the terminal. Terraform then finishes what it has begun, writes its
state and gives its lock back; a parent that ended first would take its output away and lose all three.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torchneuron import display


@dataclass(frozen=True)
class Finished:
    """A process that has ended, and all it wrote."""

    status: int
    stdout: str
    stderr: str


def run_to_its_end(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None] = lambda line: None,
) -> Finished:
    """Run `command` in `folder`, handing on each line of its output as it comes.

    Raises KeyboardInterrupt for a Ctrl-C meanwhile, but only once the process has ended by itself.
    """
    interrupted = False
    lines: list[str] = []
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
        )
        while process.returncode is None:
            try:
                for line in process.stdout or ():
                    lines.append(line)
                    on_line(line)
                process.wait()
            except KeyboardInterrupt:
                if not interrupted:
                    display.note(f"Interrupted: {command[0]} finishes what it has begun.")
                interrupted = True
        errors.seek(0)
        stderr = errors.read()
    if interrupted:
        raise KeyboardInterrupt
    return Finished(process.returncode, "".join(lines), stderr)
