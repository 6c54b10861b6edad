"""Runs the programs that build images, turning a failure into an error a person can act on."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rehearsal.hosts.errors import HostError

_LINES_SHOWN = 15
BARE_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
"""What systemd gives a service."""


def run_tool(
    argv: Sequence[str],
    *,
    remedy: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run `argv` to its end, quietly. Raises HostError with the end of its output when it fails or is
    missing.
    """
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as missing:
        raise HostError(f"`{argv[0]}` could not be run", why=str(missing), remedy=remedy) from missing
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-_LINES_SHOWN:]) or "it printed nothing"
        raise HostError(f"`{argv[0]}` failed (exit status {done.returncode})", why=tail, remedy=remedy)
