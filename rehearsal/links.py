"""Whether the agent of an instance can reach Systems Manager, after it has registered.

Sources
-------
- PingStatus depends on how long ago the agent pinged: SSM API reference, InstanceInformation. The agent pings every 5
  minutes: amazon-ssm-agent, agent/appconfig (HealthFrequencyMinutes). That ConnectionLost is shown as soon as one ping
  is missing is assumed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

PING_EVERY = timedelta(minutes=5)


@dataclass(frozen=True)
class Ping:
    """PingStatus and LastPingDateTime of DescribeInstanceInformation."""

    status: str
    last: datetime


@dataclass(frozen=True)
class _Loss:
    at: datetime
    noticed: datetime


class Links:
    """The broken links, by instance id. Thread-safe."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """`now`: the rehearsal's clock, by which AWS notices a broken link."""
        self._now = now
        self._lock = threading.Lock()
        self._lost: dict[str, _Loss] = {}

    def disconnect(self, instance_id: str, noticed_after: timedelta = PING_EVERY) -> None:
        """Break the link; PingStatus shows it after `noticed_after`. Repeating this changes only that time."""
        with self._lock:
            at = self._lost[instance_id].at if instance_id in self._lost else self._now()
            self._lost[instance_id] = _Loss(at, self._now() + noticed_after)

    def reconnect(self, instance_ids: Iterable[str]) -> None:
        with self._lock:
            for instance_id in instance_ids:
                self._lost.pop(instance_id, None)

    def snapshot(self) -> dict[str, Any]:
        """The state, for `restore` in another process."""
        with self._lock:
            return dict(self._lost)

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        with self._lock:
            self._lost.update(snapshot)

    def connected(self, instance_id: str) -> bool:
        with self._lock:
            return instance_id not in self._lost

    def ping(self, instance_id: str) -> Ping:
        with self._lock:
            now, loss = self._now(), self._lost.get(instance_id)
        if loss is None:
            return Ping("Online", now)
        return Ping("ConnectionLost" if now >= loss.noticed else "Online", loss.at)
