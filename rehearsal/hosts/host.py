"""What the rehearsal needs of a machine, whatever it is made of.

The AWS side of the rehearsal (instances, Run Command) talks to this protocol only: a Debian that boots under
systemd, a light host without it and a scripted fake in a test are all the same to it.
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
"""Exit code of a script killed by SIGKILL, as a shell reports it (128 + 9) and the SSM agent passes on."""

ExitReason = Literal["exited", "timed-out", "cancelled"]


@dataclass(frozen=True)
class Script:
    """A script to be run as root the way the SSM agent runs a step.

    `text` is written to `path` (mode 700) and run as `sh -c PATH`, in a process group of its own, in
    `working_directory` (`/usr/bin` when None), with `environment` added to a service's bare one (PATH and LANG,
    no HOME), stdin empty. After `timeout` seconds, or once `cancelled` is set, the whole process group is killed.
    """

    text: str
    path: str
    timeout: float
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class ScriptResult:
    """How a script ended and everything it wrote.

    `exit_code` is `KILLED` when the script was killed at its timeout or on request. `stdout` and `stderr` are
    whole: cutting them to what SSM keeps is the agent's affair, not the machine's.
    """

    exit_code: int
    stdout: str
    stderr: str
    exit_reason: ExitReason


class Host(Protocol):
    """One host, from boot to destruction. Methods may be called from any thread."""

    @property
    def name(self) -> str:
        """The instance id the host stands for."""

    def boot(self) -> None:
        """Start the host and return once it is up, systemd's `running` or `degraded`; HostError otherwise."""

    def run(self, script: Script) -> ScriptResult:
        """Run a script; returns when it has ended and its pipes are closed.

        So a background job that keeps stdout open keeps this waiting. Raises HostError when the host is not there to
        run it.
        """

    def write_file(self, path: str, text: str, mode: int = 0o600) -> None:
        """Write a file in the host, making parent folders; HostError when that fails."""

    def read_file(self, path: str) -> str:
        """The text of a file in the host; HostError when it can't be read."""

    def forward(self, port: int) -> int:
        """A loopback port on this machine that leads to 127.0.0.1:`port` in the host, until `destroy`."""

    def attach_volume(self, volume: Volume) -> None:
        """Give the host the volume as an NVMe disk, now or, when it is not booted yet, from its boot on.

        Waits for another host that has the volume and is being destroyed. HostError when it can't be had.
        """

    def detach_volume(self, volume: Volume) -> bool:
        """Take the disk away; False, and nothing happens, while it is mounted in the host."""

    def destroy(self) -> None:
        """Power the host off and remove every trace: process, mount, cgroup, file, disk. May be called again.

        Only what is in the folder that it was made with stays, for another one to go on with.
        """


@runtime_checkable
class Labelled(Protocol):
    """A machine that is less than an instance would be, and says so."""

    label: str


@runtime_checkable
class Rebootable(Protocol):
    """A machine that can be rebooted."""

    def reboot(self) -> None:
        """End all that runs, keep the files; back once it is up again. Raises HostError."""


@runtime_checkable
class Connectable(Protocol):
    """A machine whose scripts reach AWS."""

    def connect(self, sites: Sites) -> None:
        """Have it ask `sites`, from its boot on. Called before that."""


class HostFactory(Protocol):
    """Makes the machine for an instance; it is not booted yet.

    `folder`: where its files are to outlive it. A machine made with the folder of an earlier one goes on with its
    files, and is of its kind.
    """

    def __call__(self, instance_id: str, *, region: str, folder: Path | None = None) -> Host: ...
