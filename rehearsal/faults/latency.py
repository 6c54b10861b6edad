"""How long AWS takes: for any answer, until a command reaches its instance, until what has happened can be seen.

`none` waits only as long as it takes a client to meet an invocation that is not visible yet. `aws` is for measuring
what a design costs on AWS, where each call crosses a continent and Run Command is eventually consistent. Its numbers
are assumed, of the order people report; docs/rehearsal.md says so.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rehearsal.errors import SettingsError

_LONGEST = 600


@dataclass(frozen=True)
class Delays:
    """Seconds. `visible`: from SendCommand until its invocations can be seen. `delivery`: until an agent has it.

    `request`: added to every call. `lag`: how far what is shown of invocations lies behind. `wave`: between handing a
    command to some of its instances and to the next. `given_up`: how long an
    agent that starts again waits for the worker of a command that was under way.
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
    """The delays there are now. Safe to use from any thread."""

    def __init__(self, delays: Delays) -> None:
        self._lock = threading.Lock()
        self._delays = delays

    @property
    def now(self) -> Delays:
        with self._lock:
            return self._delays

    def change(self, body: Mapping[str, Any]) -> None:
        """Set them to a preset, `{"preset": "aws"}`, or those named in seconds; SettingsError, and nothing, else."""
        read = asdict(self.now)
        if body.keys() == {"preset"} and body["preset"] in PRESETS:
            read = asdict(PRESETS[body["preset"]])
        elif body and body.keys() <= read.keys():
            read.update(body)
        else:
            raise SettingsError(
                f'send {{"preset": one of {", ".join(PRESETS)}}} or seconds for some of {", ".join(read)}'
            )
        for name, value in read.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST:
                raise SettingsError(f"{name} is a number of seconds from 0 to {_LONGEST}, not {value!r}")
        with self._lock:
            self._delays = Delays(**read)

    def shown(self) -> dict[str, Any]:
        return asdict(self.now)
