"""A few hosts that boot and any number of light ones: a fleet whose size is real where its every member need not be."""

from __future__ import annotations

import threading
from pathlib import Path

from rehearsal.hosts import light
from rehearsal.hosts.disk import Disk
from rehearsal.hosts.enclosed import EnclosedHost
from rehearsal.hosts.machine import Machine, MachineFactory

BOOTED = 4
"""How many boot unless told otherwise: as many as a machine with 8 GB has room for."""


class MixedFactory:
    """A `MachineFactory`: the first `most` machines are `booted`'s, further ones `lighter`'s.

    One that goes on with the files of an earlier one is of its kind. A booted host that is destroyed makes room for
    another. Safe to use from any thread.
    """

    def __init__(self, booted: MachineFactory, lighter: MachineFactory, most: int = BOOTED) -> None:
        self._booted = booted
        self._light = lighter
        self._most = most
        self._lock = threading.Lock()
        self._there: list[Machine] = []

    def __call__(self, instance_id: str, *, region: str, folder: Path | None = None) -> Machine:
        was = Disk(folder).suite
        with self._lock:
            self._there = [one for one in self._there if not (isinstance(one, EnclosedHost) and one.destroyed)]
            if was == light.SUITE or (was is None and len(self._there) >= self._most):
                return self._light(instance_id, region=region, folder=folder)
            machine = self._booted(instance_id, region=region, folder=folder)
            self._there.append(machine)
            return machine
