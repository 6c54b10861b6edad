"""A host that only lets time pass: a script takes as long as its `sleep` lines say, and succeeds.

For measuring clients of Run Command: `python -m rehearsal --host-suite tests.hosts.timed:create`.
"""

import re
import time
from pathlib import Path

from rehearsal.hosts.errors import HostError
from rehearsal.hosts.host import KILLED, Script, ScriptResult
from rehearsal.hosts.volumes import Volume

_SLEEP = re.compile(r"^sleep (\d+(?:\.\d+)?)$", re.MULTILINE)
_OS_RELEASE = 'NAME="Timed"\nVERSION_ID="1"\n'


class TimedHost:
    """A `Host` that runs nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._files = {"/etc/os-release": _OS_RELEASE}

    def boot(self) -> None:
        """Ready at once."""

    def run(self, script: Script) -> ScriptResult:
        seconds = sum(float(found) for found in _SLEEP.findall(script.text))
        end = time.monotonic() + min(seconds, script.timeout)
        if script.cancelled.wait(max(end - time.monotonic(), 0)):
            return ScriptResult(KILLED, "", "", "cancelled")
        if seconds > script.timeout:
            return ScriptResult(KILLED, "", "", "timed-out")
        return ScriptResult(0, "", f"slept {seconds:g} s\n", "exited")

    def write_file(self, path: str, text: str, mode: int = 0o600) -> None:
        self._files[path] = text

    def read_file(self, path: str) -> str:
        if path not in self._files:
            raise HostError(f"Host {self.name} could not read {path}", why="no such file", remedy="Write it first.")
        return self._files[path]

    def forward(self, port: int) -> int:
        raise HostError(f"Host {self.name} has no port {port}", why="it runs nothing", remedy="Use another host suite.")

    def attach_volume(self, volume: Volume) -> None:
        """No script looks for it."""

    def detach_volume(self, volume: Volume) -> bool:
        return True

    def destroy(self) -> None:
        """Nothing to remove."""


def create(instance_id: str, *, region: str, folder: Path | None = None) -> TimedHost:
    """A `HostFactory`."""
    return TimedHost(instance_id)
