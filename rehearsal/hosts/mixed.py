"""A limited number of booted hosts and any number of light ones, so that a large fleet fits one machine."""

from __future__ import annotations

import threading
from pathlib import Path

from rehearsal.hosts import light
from rehearsal.hosts.container_host import ContainerHost
from rehearsal.hosts.disk import Disk
from rehearsal.hosts.host import Host, HostFactory

MAX_BOOTED = 4
"""Fits a machine with 8 GB of memory."""


class MixedFactory:
    """A `HostFactory`: the first `max_booted` hosts are booted, further ones are light. Thread-safe.

    A host that resumes from a folder keeps its kind. Destroying a booted host makes room for another.
    """

    def __init__(self, booted: HostFactory, lighter: HostFactory, max_booted: int = MAX_BOOTED) -> None:
        self._booted = booted
        self._light = lighter
        self._max_booted = max_booted
        self._lock = threading.Lock()
        self._existing: list[Host] = []

    def __call__(self, instance_id: str, *, region: str, folder: Path | None = None) -> Host:
        previous = Disk(folder).suite
        with self._lock:
            self._existing = [
                host for host in self._existing if not (isinstance(host, ContainerHost) and host.destroyed)
            ]
            if previous == light.SUITE or (previous is None and len(self._existing) >= self._max_booted):
                return self._light(instance_id, region=region, folder=folder)
            host = self._booted(instance_id, region=region, folder=folder)
            self._existing.append(host)
            return host
