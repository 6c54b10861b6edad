"""A machine that runs nothing: a script takes the time that its `sleep` lines say, and ends well.

For measuring those who send commands, to one machine or to more than this one could run: what they wait for is exactly
known. `--host-suite played`.
"""

import re
import time
from pathlib import Path

from rehearsal.hosts.errors import HostError
from rehearsal.hosts.machine import KILLED, Script, ScriptResult
from rehearsal.hosts.volumes import Volume

_SLEEP = re.compile(r"^sleep (\d+(?:\.\d+)?)$", re.MULTILINE)
_OS_RELEASE = 'NAME="Played"\nVERSION_ID="1"\n'


class PlayedHost:
    """A `Machine` (see there) of nothing but time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._files = {"/etc/os-release": _OS_RELEASE}

    def boot(self) -> None:
        """It is there at once."""

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
            raise HostError(f"Host {self.name} could not read {path}", why="it is not there", remedy="Write it first.")
        return self._files[path]

    def forward(self, port: int) -> int:
        raise HostError(f"Host {self.name} has no port {port}", why="it runs nothing", remedy="Use another host suite.")

    def attach_volume(self, volume: Volume) -> None:
        """Nothing on it looks for one."""

    def detach_volume(self, volume: Volume) -> bool:
        return True

    def destroy(self) -> None:
        """Nothing is left of it."""


def factory(instance_id: str, *, region: str, folder: Path | None = None) -> PlayedHost:
    """A `MachineFactory`."""
    return PlayedHost(instance_id)
