"""The AWS CLI as a client of the rehearsal that is independent of this project."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REFUSED = 255
"""The exit status when AWS returns an error or a wait fails: AWS CLI user guide, "Command line return codes"."""


@dataclass(frozen=True)
class AwsCli:
    """Runs command lines without `aws`, with `environment` in addition to this process's."""

    environment: Mapping[str, str]
    region: str

    def __call__(self, line: str) -> Any:
        """The output, parsed as JSON; None without output."""
        done = self._run(line)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refused(self, line: str) -> str:
        """The error message of a command line that must fail."""
        done = self._run(line)
        assert (done.returncode, done.stdout.strip()) == (REFUSED, "")
        return done.stderr.strip()

    def _run(self, line: str) -> subprocess.CompletedProcess[str]:
        program = str(Path(sys.executable).with_name("aws"))
        environment = {
            **os.environ,
            **self.environment,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_DEFAULT_OUTPUT": "json",
        }
        command = [program, *shlex.split(line)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
