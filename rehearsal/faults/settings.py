"""What goes wrong because somebody asked for it: `POST faults`, see docs/rehearsal.md.

A fault belongs to an operation, not to a client: whoever calls it next meets it. Which faults there are is decided
here; `mishaps` is where a request meets one.

Sources
-------
- InternalFailure, status 500, for a fault of AWS's own: EC2 API reference, "Error codes", and the common errors of
  the other services' references; S3's InternalError: S3 API reference, "Error responses".
- That a lost answer says nothing about the request's effect: Amazon Builders' Library, "Making retries safe".
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from rehearsal.errors import SettingsError

Kind = Literal["lost-before", "lost-after", "server-error", "server-error-after", "bad-gateway-after", "error", "delay"]

_MOST_SECONDS = 600
_MOST_TIMES = 1_000_000


@dataclass(frozen=True)
class Fault:
    """What becomes of an operation's next requests, after the first `skip` of them: `times` of them, or all (None).

    `operation`: of any service that has it, or of one: `s3:PutObject`.
    With a `probability` below 1 each of them meets it that likely, and `times` counts those that do.
    `kind`: the connection is cut before or after the request takes effect; AWS answers with a fault of its own,
    before or after; something between here and AWS answers 502 in place of AWS, after; AWS refuses it as `code`,
    `message` and `status` say; or it is carried out late, whether or not anybody still waits. `seconds`: how long each
    request waits first, at most until the faults are replaced.
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
        """Whether the request is carried out all the same."""
        return self.kind == "delay" or self.kind.endswith("-after")


@dataclass(frozen=True)
class _Coming:
    """A fault with what is left of it. `number`: its place in the list; `asked`: how often its odds were tried."""

    fault: Fault
    number: int
    asked: int = 0

    def strikes(self, seed: int) -> bool:
        """Whether the request whose turn it is meets it: always the same for the same seed, list and turn."""
        odds = random.Random(f"{seed} {self.number} {self.asked}").random()
        return odds < self.fault.probability


class Faults:
    """The faults still to come, in the order they were asked for. Safe to use from any thread."""

    def __init__(self, is_served: Callable[[str], bool] = lambda _: True, *, seed: int = 0) -> None:
        """`is_served`: whether a fault of this operation can ever be met. `seed`: decides what is left to chance."""
        self._is_served = is_served
        self._seed = seed
        self._lock = threading.Lock()
        self._coming: list[_Coming] = []
        self._replaced = threading.Event()

    def set(self, body: Mapping[str, Any]) -> None:
        """Replace them by those of `body`, `{"faults": [...]}`: all of them or, with a SettingsError, none."""
        given = body.get("faults")
        if body.keys() != {"faults"} or not isinstance(given, list):
            raise SettingsError('send {"faults": [{"operation": "PurchaseCapacityBlock", "kind": "lost-after"}]}')
        read = [_Coming(_read(one, self._is_served), number) for number, one in enumerate(given)]
        with self._lock:
            self._coming = read
            self._replaced.set()
            self._replaced = threading.Event()

    def shown(self) -> dict[str, Sequence[dict[str, Any]]]:
        """Those still to come, as `set` takes them; `times` and `skip` are what is left of them."""
        with self._lock:
            return {"faults": [asdict(one.fault) for one in self._coming]}

    def meet(self, service: str, operation: str) -> Fault | None:
        """The fault that a request for a service meets now, which it uses up; None when all goes well.

        Returns after the fault's `seconds`, or once the faults are replaced. One that the request is spared by chance
        leaves it to the next in the list.
        """
        with self._lock:
            fault, replaced = self._next(service, operation), self._replaced
        if fault:
            replaced.wait(fault.seconds)
        return fault

    def _next(self, service: str, operation: str) -> Fault | None:
        for index, one in enumerate(self._coming):
            if one.fault.operation not in (operation, f"{service}:{operation}"):
                continue
            if one.fault.skip:
                self._coming[index] = replace(one, fault=replace(one.fault, skip=one.fault.skip - 1))
                return None
            if not one.strikes(self._seed):
                self._coming[index] = replace(one, asked=one.asked + 1)
                continue
            left = _once_less(one.fault)
            self._coming[index : index + 1] = [replace(one, fault=left, asked=one.asked + 1)] if left else []
            return one.fault
        return None


def _once_less(fault: Fault) -> Fault | None:
    if fault.times is None:
        return fault
    return replace(fault, times=fault.times - 1) if fault.times > 1 else None


def _read(given: Any, is_served: Callable[[str], bool]) -> Fault:
    fields = Fault.__dataclass_fields__
    if not isinstance(given, dict) or not {"operation", "kind"} <= given.keys() <= fields.keys():
        raise SettingsError(f"a fault has operation, kind and maybe {', '.join([*fields][2:])}; not {given!r}")
    fault = Fault(**given)
    checks = {
        "operation is one that is served here, such as RunInstances or s3:PutObject": isinstance(fault.operation, str)
        and is_served(fault.operation),
        f"kind is one of {', '.join(get_args(Kind))}": fault.kind in get_args(Kind),
        "times is null or a whole number from 1": fault.times is None or _is_whole(fault.times, 1, _MOST_TIMES),
        "skip is a whole number from 0": _is_whole(fault.skip, 0, _MOST_TIMES),
        "code and message are text": isinstance(fault.code, str) and isinstance(fault.message, str),
        "an error has a code": fault.kind != "error" or bool(fault.code),
        "status is from 400 to 599": _is_whole(fault.status, 400, 599),
        f"seconds is a number from 0 to {_MOST_SECONDS}": not isinstance(fault.seconds, bool)
        and isinstance(fault.seconds, int | float)
        and 0 <= fault.seconds <= _MOST_SECONDS,
        "probability is a number above 0, up to 1": not isinstance(fault.probability, bool)
        and isinstance(fault.probability, int | float)
        and 0 < fault.probability <= 1,
    }
    for rule, holds in checks.items():
        if not holds:
            raise SettingsError(f"{rule}: {given!r} is no fault that can be had")
    return fault


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
