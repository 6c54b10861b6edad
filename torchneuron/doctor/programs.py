"""The programs beside Python: whether they are there, run, and are new enough.

Whatever a program does, it is waited for some seconds only; one that is given up is ended with all it has started.
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
from torchneuron.doctor.finding import Finding, Verdict

SECONDS = 10.0
"""How long a program may take to tell its version: cdktf starts Node for it, which takes a busy machine a while."""
_NODE_PROGRAMS = Path(__file__).resolve().parents[2] / "node_modules" / ".bin"
# Terraform and cdktf would ask their maker for newer releases.
_NO_NEWS = {"CHECKPOINT_DISABLE": "1", "DISABLE_VERSION_CHECK": "1"}


@dataclass(frozen=True)
class Program:
    """A program, the words that make it tell its version, and the oldest one that will do.

    `needed` says whether the commands do without it; `why` what it is for, `remedy` where to get it.
    """

    name: str
    words: tuple[str, ...]
    why: str
    remedy: str
    needed: bool = False
    least: tuple[int, ...] = ()


PROGRAMS = (
    Program(
        "Terraform",
        ("terraform", "version"),
        f"It deploys the machine, and keeps the password out of its state from {versions.MINIMUM_TERRAFORM} on.",
        f"Install Terraform {versions.MINIMUM_TERRAFORM} or newer: https://developer.hashicorp.com/terraform/install",
        needed=True,
        least=versions.numbers(versions.MINIMUM_TERRAFORM),
    ),
    Program(
        "Node",
        ("node", "--version"),
        "cdktf makes Terraform's configuration with it.",
        "Install Node 20 or newer: https://nodejs.org/en/download",
        needed=True,
        least=(20,),
    ),
    Program("cdktf-cli", ("cdktf", "--version"), "Only npx cdktf needs it; invoke deploy does not.", "make setup"),
    Program(
        "AWS CLI",
        ("aws", "--version"),
        "It forwards the port of the editor: aws ssm start-session. Nothing else needs it.",
        "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    ),
    Program(
        "Session Manager plugin",
        ("session-manager-plugin", "--version"),
        "aws ssm start-session needs it, to reach the editor without an open port.",
        "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html",
    ),
)


def findings(programs: Sequence[Program] = PROGRAMS, *, seconds: float = SECONDS) -> list[Finding]:
    """A finding for each program, in their order. All are asked at once."""
    with ThreadPoolExecutor(max_workers=len(programs)) as pool:
        return list(pool.map(lambda program: check(program, seconds=seconds), programs))


def check(program: Program, *, seconds: float = SECONDS) -> Finding:
    """What is to be said of one program."""
    found, good = _look_at(program, seconds)
    if good:
        return Finding(program.name, found, Verdict.OK)
    verdict = Verdict.MISSING if program.needed else Verdict.WARNING
    return Finding(program.name, found, verdict, f"{program.why}\n{program.remedy}")


def _look_at(program: Program, seconds: float) -> tuple[str, bool]:
    """What was found, and whether it will do."""
    path = shutil.which(program.words[0]) or shutil.which(program.words[0], path=str(_NODE_PROGRAMS))
    if path is None:
        return "not installed", False
    try:
        status, told = _ask([path, *program.words[1:]], seconds)
    except subprocess.TimeoutExpired:
        return f"no answer within {seconds:g} s", False
    except OSError as error:
        return f"does not run: {error.strerror or error}", False
    version = re.search(r"\d+(\.\d+)+", told)
    if status != 0 or not version:
        lines = told.strip().splitlines()
        return f"does not run: {lines[-1] if lines else f'status {status}'}", False
    if tuple(int(part) for part in version[0].split(".")) < program.least:
        return f"{version[0]}; {'.'.join(map(str, program.least))} or newer is needed", False
    return version[0], True


def _ask(command: Sequence[str], seconds: float) -> tuple[int, str]:
    """The exit status and all that was written. Raises OSError and subprocess.TimeoutExpired.

    Into a file, not a pipe: a child of a program that is killed would hold a pipe open, and us with it.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **_NO_NEWS},
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
