"""How the rehearsal's market behaves, as the control API sets it: `POST market`, see docs/rehearsal.md."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Literal, get_args

from rehearsal.errors import SettingsError
from rehearsal.market.on_demand_quotas import at_first, blocks_at_first

Health = Literal["ok", "impaired", "insufficient-data"]
Outcome = Literal["paid", "failed"]

_LONGEST_SECONDS = 366 * 24 * 3600
_MOST_SEARCHES = 1000
_MOST_VCPUS = 1_000_000
# What is not named in these stays.
_BY_KEY = ("health", "on_demand_quotas", "capacity_block_quotas")


@dataclass(frozen=True)
class Searches:
    """The rate at which an operation answers: `burst` at once, then `per_second`, in real time. The defaults are those
    of DescribeCapacityBlockOfferings.

    With a burst of 0 it never does, as for an account whose quota is 0.
    """

    burst: int = 2
    per_second: float = 0.5


@dataclass
class MarketSettings:
    """What can be changed while a rehearsal runs. Each field is safe to read from any thread.

    `out_of_capacity`: the instance types that AWS has nothing left of, `*` for all. `health`: by id of block or
    reservation, `ok` where it says none. `on_demand_quotas`, `capacity_block_quotas`:
    vCPUs by family of types.
    """

    visible_after_seconds: float = 0
    payment_seconds: float = 2
    payment_outcome: Outcome = "paid"
    searches: Searches | None = None
    ultraservers: bool = False
    starts_soon: bool = False
    out_of_capacity: tuple[str, ...] = ()
    health: dict[str, Health] = field(default_factory=dict)
    on_demand_quotas: dict[str, float] = field(default_factory=at_first)
    capacity_block_quotas: dict[str, float] = field(default_factory=blocks_at_first)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @property
    def visible_after(self) -> timedelta:
        """How long after a purchase EC2's other answers begin to list it."""
        return timedelta(seconds=self.visible_after_seconds)

    @property
    def payment(self) -> timedelta:
        """How long a purchase stays payment-pending. AWS allows itself up to 12 hours; seconds is the usual."""
        return timedelta(seconds=self.payment_seconds)

    def is_out_of(self, instance_type: str) -> bool:
        """Whether no more instances of a type can be had, for money or for the asking."""
        return bool({instance_type, "*"}.intersection(self.out_of_capacity))

    def change(self, body: Mapping[str, Any]) -> None:
        """Set what `body` names, all of it or, with a SettingsError, nothing. Other keys stay in those of `_BY_KEY`."""
        known = ", ".join(_READERS)
        if not body:
            raise SettingsError(f"name at least one of {known}")
        unknown = sorted(body.keys() - _READERS.keys())
        if unknown:
            raise SettingsError(f"the market has no {', '.join(unknown)}; it has {known}")
        read = {name: _READERS[name](name, value) for name, value in body.items()}
        with self._lock:
            for name, value in read.items():
                setattr(self, name, {**getattr(self, name), **value} if name in _BY_KEY else value)

    def shown(self) -> dict[str, Any]:
        """All of them, as `change` takes them."""
        with self._lock:
            found = {name: getattr(self, name) for name in _READERS}
        searches, types = found["searches"], list(found["out_of_capacity"])
        return {**found, "searches": asdict(searches) if searches else None, "out_of_capacity": types}


def _number(name: str, value: Any, most: float) -> float:
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if not number or not math.isfinite(value) or not 0 <= value <= most:
        raise SettingsError(f"{name} is a number from 0 to {most}, not {value!r}")
    return value  # type: ignore[no-any-return] # an int stays one, for the answer


def _seconds(name: str, value: Any) -> float:
    return _number(name, value, _LONGEST_SECONDS)


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(f"{name} is true or false, not {value!r}")
    return value


def _types(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise SettingsError(f'{name} is a list of instance types, or ["*"] for all, not {value!r}')
    return tuple(value)


def _outcome(name: str, value: Any) -> Outcome:
    return _one_of(name, value, Outcome)  # type: ignore[no-any-return]


def _health(name: str, value: Any) -> dict[str, Health]:
    if not isinstance(value, dict):
        raise SettingsError(f'{name} is an object such as {{"cr-…": "impaired"}}, not {value!r}')
    return {one: _one_of(f"{name} of {one}", state, Health) for one, state in value.items()}


def _quotas(name: str, value: Any) -> dict[str, float]:
    families = at_first() if name == "on_demand_quotas" else blocks_at_first()
    if not isinstance(value, dict) or value.keys() - families.keys():
        raise SettingsError(f"{name} is an object of vCPUs by family ({', '.join(families)}), not {value!r}")
    return {family: _number(f"{name}: {family}", vcpus, _MOST_VCPUS) for family, vcpus in value.items()}


def read_rate(name: str, value: Any) -> Searches | None:
    """The rate that a request to the control API gives; SettingsError for anything else."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() - {"burst", "per_second"}:
        raise SettingsError(f'{name} is null or an object such as {{"burst": 2, "per_second": 0.5}}, not {value!r}')
    limit = Searches(**value)
    if isinstance(limit.burst, float):
        raise SettingsError(f"{name}: burst is a whole number, not {limit.burst!r}")
    _number(f"{name}: burst", limit.burst, _MOST_SEARCHES)
    _number(f"{name}: per_second", limit.per_second, _MOST_SEARCHES)
    return limit


def _one_of(name: str, value: Any, choice: Any) -> Any:
    if value not in get_args(choice):
        raise SettingsError(f"{name} is one of {', '.join(get_args(choice))}, not {value!r}")
    return value


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "visible_after_seconds": _seconds,
    "payment_seconds": _seconds,
    "payment_outcome": _outcome,
    "searches": read_rate,
    "ultraservers": _switch,
    "starts_soon": _switch,
    "out_of_capacity": _types,
    "health": _health,
    "on_demand_quotas": _quotas,
    "capacity_block_quotas": _quotas,
}
