"""Runs the programs that build images."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rehearsal.hosts.errors import HostError

_LINES_SHOWN = 15
BARE_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
"""The environment that systemd gives a service."""


def run_tool(
    argv: Sequence[str],
    *,
    remedy: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a program without showing its output. Raises HostError, with the end of the output, when it fails."""
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
