"""What the rehearsal needs of an instance's host.

The AWS side (instances, Run Command) uses these protocols only: a Debian that boots under systemd, a light host and a
fake in a test are the same to it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from rehearsal.hosts.aws_sites import Sites
    from rehearsal.hosts.volumes import Volume

KILLED = 137
"""Exit code of a script killed by SIGKILL, as a shell and the SSM agent report it (128 + 9)."""

ExitReason = Literal["exited", "timed-out", "cancelled"]


@dataclass(frozen=True)
class Script:
    """A script to run as root the way the SSM agent runs a step.

    `text` is written to `path` (mode 700) and run as `sh -c PATH`, in its own process group, in `working_directory`
    (`/usr/bin` when None), with `environment` added to a service's (PATH and LANG, no HOME) and empty standard input.
    After `timeout` seconds, or once `cancelled` is set, the process group is killed.
    """

    text: str
    path: str
    timeout: float
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class ScriptResult:
    """The end of a script. `exit_code` is `KILLED` after a timeout or cancel. The output is not truncated."""

    exit_code: int
    stdout: str
    stderr: str
    exit_reason: ExitReason


class Host(Protocol):
    """A host, from boot to destruction. Methods are thread-safe and raise HostError."""

    @property
    def name(self) -> str:
        """The instance id."""

    def boot(self) -> None:
        """Start the host and wait until it is up (systemd: `running` or `degraded`)."""

    def run(self, script: Script) -> ScriptResult:
        """Run a script until it has ended and its pipes are closed: a background job that keeps stdout delays it."""

    def write_file(self, path: str, text: str, mode: int = 0o600) -> None:
        """Write a file, creating parent folders."""

    def read_file(self, path: str) -> str:
        """The text of a file."""

    def forward(self, port: int) -> int:
        """Open a loopback port on this machine that leads to 127.0.0.1:`port` in the host, until `destroy`."""

    def attach_volume(self, volume: Volume) -> None:
        """Attach the volume as an NVMe disk, at boot when the host is not up yet.

        Waits while another host that has the volume is being destroyed.
        """

    def detach_volume(self, volume: Volume) -> bool:
        """Detach the disk. False while it is mounted in the host, and nothing happens."""

    def destroy(self) -> None:
        """Power off and remove everything but the host's folder. Idempotent."""


@runtime_checkable
class Labelled(Protocol):
    """A host that is less than an instance, as its label says."""

    label: str


@runtime_checkable
class Rebootable(Protocol):
    def reboot(self) -> None:
        """End all processes, keep the files, and wait until the host is up again. Raises HostError."""


@runtime_checkable
class Connectable(Protocol):
    """A host whose scripts reach AWS."""

    def connect(self, sites: Sites) -> None:
        """Set what answers the host's requests to AWS. Called before boot."""


class HostFactory(Protocol):
    """Creates the host of an instance, not booted yet.

    `folder`: where its files outlive it. A host created with the folder of an earlier one has its files and kind.
    """

    def __call__(self, instance_id: str, *, region: str, folder: Path | None = None) -> Host: ...
