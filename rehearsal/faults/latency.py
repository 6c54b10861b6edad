"""AWS's latency: of calls, of the delivery of commands, and until changes are visible.

`none` only delays new invocations, so that clients meet one that is not visible yet. `aws` is for measuring what a
design costs on AWS, where calls cross continents and Run Command is eventually consistent. Its values are assumed; see
docs/rehearsal.md.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rehearsal.errors import SettingsError

_MAX_SECONDS = 600


@dataclass(frozen=True)
class Delays:
    """Delays in seconds.

    `visible`: from SendCommand until its invocations are visible. `delivery`: until an agent has the command.
    `request`: added to every call. `lag`: age of the shown state of invocations. `wave`: between the waves of a
    command. `given_up`: how long a restarted agent waits for the worker of a running command.
    """

    visible: float = 0.2
    delivery: float = 0.3
    request: float = 0.0
    lag: float = 0.0
    wave: float = 0.0
    given_up: float = 3.0


PRESETS: Mapping[str, Delays] = {
    "none": Delays(),
    "aws": Delays(visible=1.0, delivery=1.5, request=0.1, lag=1.0, wave=0.1),
}


class Latency:
    """The current delays. Thread-safe."""

    def __init__(self, delays: Delays) -> None:
        self._lock = threading.Lock()
        self._delays = delays

    @property
    def now(self) -> Delays:
        with self._lock:
            return self._delays

    def change(self, body: Mapping[str, Any]) -> None:
        """Set a preset, `{"preset": "aws"}`, or some delays in seconds. SettingsError, without a change, if invalid."""
        delays = asdict(self.now)
        if body.keys() == {"preset"} and body["preset"] in PRESETS:
            delays = asdict(PRESETS[body["preset"]])
        elif body and body.keys() <= delays.keys():
            delays.update(body)
        else:
            raise SettingsError(
                f'send {{"preset": one of {", ".join(PRESETS)}}} or seconds for some of {", ".join(delays)}'
            )
        for name, value in delays.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_SECONDS:
                raise SettingsError(f"{name} is a number of seconds from 0 to {_MAX_SECONDS}, not {value!r}")
        with self._lock:
            self._delays = Delays(**delays)

    def shown(self) -> dict[str, Any]:
        return asdict(self.now)
