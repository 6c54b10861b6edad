"""Checks of the programs other than Python: installed, working, and new enough.

Each program gets some seconds to print its version; after that it is killed with its child processes.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torchneuron.core import versions
from torchneuron.doctor.findings import Finding, Verdict

SECONDS = 10.0
"""How long a program may take to print its version: cdktf starts Node for it, which is slow on a busy machine."""
_NODE_PROGRAMS = Path(__file__).resolve().parents[2] / "node_modules" / ".bin"
# Keeps Terraform and cdktf from looking for newer releases.
_NO_UPDATE_CHECK = {"CHECKPOINT_DISABLE": "1", "DISABLE_VERSION_CHECK": "1"}


@dataclass(frozen=True)
class Program:
    """A program: the command that prints its version, its purpose, its remedy, and the oldest version that works."""

    name: str
    command: tuple[str, ...]
    why: str
    remedy: str
    is_required: bool = False
    minimum: tuple[int, ...] = ()


PROGRAMS = (
    Program(
        "Terraform",
        ("terraform", "version"),
        f"It deploys the instance; from {versions.MINIMUM_TERRAFORM} on it keeps the password out of its state.",
        f"Install Terraform {versions.MINIMUM_TERRAFORM} or newer: https://developer.hashicorp.com/terraform/install",
        is_required=True,
        minimum=versions.numbers(versions.MINIMUM_TERRAFORM),
    ),
    Program(
        "Node",
        ("node", "--version"),
        "cdktf needs it to generate Terraform's configuration.",
        "Install Node 20 or newer: https://nodejs.org/en/download",
        is_required=True,
        minimum=(20,),
    ),
    Program("cdktf-cli", ("cdktf", "--version"), "Only npx cdktf needs it; invoke deploy does not.", "make setup"),
    Program(
        "AWS CLI",
        ("aws", "--version"),
        "aws ssm start-session forwards the editor's port; nothing else needs it.",
        "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    ),
    Program(
        "Session Manager plugin",
        ("session-manager-plugin", "--version"),
        "aws ssm start-session needs it, to reach the editor without an open port.",
        "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html",
    ),
)


def check_all(programs: Sequence[Program] = PROGRAMS, *, seconds: float = SECONDS) -> list[Finding]:
    """A finding for each program, in their order. The checks run in parallel."""
    with ThreadPoolExecutor(max_workers=len(programs)) as pool:
        return list(pool.map(lambda program: check(program, seconds=seconds), programs))


def check(program: Program, *, seconds: float = SECONDS) -> Finding:
    """Whether a program is installed, works, and is new enough."""
    found, is_ok = _version(program, seconds)
    if is_ok:
        return Finding(program.name, found, Verdict.OK)
    verdict = Verdict.MISSING if program.is_required else Verdict.WARNING
    return Finding(program.name, found, verdict, f"{program.why}\n{program.remedy}")


def _version(program: Program, seconds: float) -> tuple[str, bool]:
    """The version, or the problem, and whether the program can be used."""
    name, *arguments = program.command
    path = shutil.which(name) or shutil.which(name, path=str(_NODE_PROGRAMS))
    if path is None:
        return "not installed", False
    try:
        status, output = _run([path, *arguments], seconds)
    except subprocess.TimeoutExpired:
        return f"no answer within {seconds:g} s", False
    except OSError as error:
        return f"does not run: {error.strerror or error}", False
    version = re.search(r"\d+(\.\d+)+", output)
    if status != 0 or not version:
        lines = output.strip().splitlines()
        return f"does not run: {lines[-1] if lines else f'status {status}'}", False
    if versions.numbers(version[0]) < program.minimum:
        return f"{version[0]}; {'.'.join(map(str, program.minimum))} or newer is required", False
    return version[0], True


def _run(command: Sequence[str], seconds: float) -> tuple[int, str]:
    """The exit status and the output. Raises OSError and subprocess.TimeoutExpired.

    The output goes to a file: a child process of a killed program would keep a pipe open, and block the read.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **_NO_UPDATE_CHECK},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(seconds)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        output.seek(0)
        return status, output.read()
