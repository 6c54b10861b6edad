"""The faults that `POST faults` sets, see docs/rehearsal.md. `injection` applies them to requests.

A fault belongs to an operation, not to a client: it applies to the next calls of the operation.

Sources
-------
- InternalFailure, status 500, for internal errors of AWS: EC2 API reference, "Error codes", and the common errors of
  the other services' references; S3's InternalError: S3 API reference, "Error responses".
- A lost response says nothing about the request's effect: Amazon Builders' Library, "Making retries safe".
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from rehearsal.errors import SettingsError

Kind = Literal["lost-before", "lost-after", "server-error", "server-error-after", "bad-gateway-after", "error", "delay"]

_MAX_SECONDS = 600
_MAX_TIMES = 1_000_000


@dataclass(frozen=True)
class Fault:
    """A fault of an operation's next `times` requests (None for all), after the first `skip` of them.

    `operation`: of any service that has it, or of one: `s3:PutObject`. `probability`: below 1, each request is affected
    with this probability, and `times` counts those that are.
    `kind`: lost-before and lost-after: the connection is closed before or after the request takes effect.
    server-error and server-error-after: an internal error of AWS, before or after. bad-gateway-after: a proxy's 502,
    after. error: AWS's error with `code`, `message` and `status`. delay: the request takes effect late, even if no
    client waits. `seconds`: how long each request waits first, at most until the faults are replaced.
    """

    operation: str
    kind: Kind
    times: int | None = 1
    skip: int = 0
    code: str = ""
    message: str = ""
    status: int = 400
    seconds: float = 0
    probability: float = 1

    @property
    def takes_effect(self) -> bool:
        """Whether the request takes effect despite the fault."""
        return self.kind == "delay" or self.kind.endswith("-after")


@dataclass(frozen=True)
class _Pending:
    """A fault with its remaining `times` and `skip`. `number`: its index in the list. `draws`: random draws so far."""

    fault: Fault
    number: int
    draws: int = 0

    def is_drawn(self, seed: int) -> bool:
        """Whether the fault affects the current request: deterministic by seed, list and number of draws."""
        draw = random.Random(f"{seed} {self.number} {self.draws}").random()
        return draw < self.fault.probability


class Faults:
    """The pending faults, in the order of the request that set them. Thread-safe."""

    def __init__(self, is_served: Callable[[str], bool] = lambda _: True, *, seed: int = 0) -> None:
        """`is_served`: whether an operation can have faults. `seed`: for faults with a probability."""
        self._is_served = is_served
        self._seed = seed
        self._lock = threading.Lock()
        self._pending: list[_Pending] = []
        self._replaced = threading.Event()

    def set(self, body: Mapping[str, Any]) -> None:
        """Replace all faults by those of `body`, `{"faults": [...]}`. SettingsError, without a change, if invalid."""
        faults = body.get("faults")
        if body.keys() != {"faults"} or not isinstance(faults, list):
            raise SettingsError('send {"faults": [{"operation": "PurchaseCapacityBlock", "kind": "lost-after"}]}')
        pending = [_Pending(_parse(fault, self._is_served), number) for number, fault in enumerate(faults)]
        with self._lock:
            self._pending = pending
            self._replaced.set()
            self._replaced = threading.Event()

    def shown(self) -> dict[str, Sequence[dict[str, Any]]]:
        """The pending faults in the format of `set`, with their remaining `times` and `skip`."""
        with self._lock:
            return {"faults": [asdict(pending.fault) for pending in self._pending]}

    def meet(self, service: str, operation: str) -> Fault | None:
        """Take the fault that affects a request now; None for no fault.

        Returns after the fault's `seconds`, or once the faults are replaced. If a fault spares the request by its
        probability, the next one in the list can affect it.
        """
        with self._lock:
            fault, replaced = self._next(service, operation), self._replaced
        if fault:
            replaced.wait(fault.seconds)
        return fault

    def _next(self, service: str, operation: str) -> Fault | None:
        for index, pending in enumerate(self._pending):
            fault, draws = pending.fault, pending.draws + 1
            if fault.operation not in (operation, f"{service}:{operation}"):
                continue
            if fault.skip:
                self._pending[index] = replace(pending, fault=replace(fault, skip=fault.skip - 1))
                return None
            if not pending.is_drawn(self._seed):
                self._pending[index] = replace(pending, draws=draws)
                continue
            rest = _without_one(fault)
            self._pending[index : index + 1] = [replace(pending, fault=rest, draws=draws)] if rest else []
            return fault
        return None


def _without_one(fault: Fault) -> Fault | None:
    if fault.times is None:
        return fault
    return replace(fault, times=fault.times - 1) if fault.times > 1 else None


def _parse(content: Any, is_served: Callable[[str], bool]) -> Fault:
    fields = Fault.__dataclass_fields__
    if not isinstance(content, dict) or not {"operation", "kind"} <= content.keys() <= fields.keys():
        raise SettingsError(f"a fault has operation, kind and maybe {', '.join([*fields][2:])}; not {content!r}")
    fault = Fault(**content)
    checks = {
        "operation is one that is served here, such as RunInstances or s3:PutObject": isinstance(fault.operation, str)
        and is_served(fault.operation),
        f"kind is one of {', '.join(get_args(Kind))}": fault.kind in get_args(Kind),
        "times is null or a whole number from 1": fault.times is None or _is_whole(fault.times, 1, _MAX_TIMES),
        "skip is a whole number from 0": _is_whole(fault.skip, 0, _MAX_TIMES),
        "code and message are text": isinstance(fault.code, str) and isinstance(fault.message, str),
        "an error has a code": fault.kind != "error" or bool(fault.code),
        "status is from 400 to 599": _is_whole(fault.status, 400, 599),
        f"seconds is a number from 0 to {_MAX_SECONDS}": not isinstance(fault.seconds, bool)
        and isinstance(fault.seconds, int | float)
        and 0 <= fault.seconds <= _MAX_SECONDS,
        "probability is a number above 0, up to 1": not isinstance(fault.probability, bool)
        and isinstance(fault.probability, int | float)
        and 0 < fault.probability <= 1,
    }
    for rule, holds in checks.items():
        if not holds:
            raise SettingsError(f"{rule}: invalid fault {content!r}")
    return fault


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
