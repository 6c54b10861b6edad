"""Settings of the market, changed with `POST market` of the control API: see docs/rehearsal.md."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Literal, get_args

from rehearsal.errors import SettingsError
from rehearsal.market.on_demand_quotas import default_block_quotas, default_quotas

Health = Literal["ok", "impaired", "insufficient-data"]
Outcome = Literal["paid", "failed"]

_MAX_SECONDS = 366 * 24 * 3600
_MAX_RATE = 1000
_MAX_VCPUS = 1_000_000
# A change of these settings keeps the keys that it does not name.
_MERGED = ("health", "on_demand_quotas", "capacity_block_quotas")


@dataclass(frozen=True)
class RateLimit:
    """A token bucket: `burst` requests at once, then `per_second`, in real time.

    The defaults are those of DescribeCapacityBlockOfferings. A burst of 0 refuses every request, as AWS does for an
    account whose quota is 0.
    """

    burst: int = 2
    per_second: float = 0.5


@dataclass
class MarketSettings:
    """Settings that can be changed while a rehearsal runs. Thread-safe.

    `out_of_capacity`: instance types without capacity, `*` for all. `health`: by id of block or reservation, `ok` if
    missing. `on_demand_quotas`, `capacity_block_quotas`: vCPUs by instance family.
    """

    visible_after_seconds: float = 0
    payment_seconds: float = 2
    payment_outcome: Outcome = "paid"
    searches: RateLimit | None = None
    ultraservers: bool = False
    starts_soon: bool = False
    out_of_capacity: tuple[str, ...] = ()
    health: dict[str, Health] = field(default_factory=dict)
    on_demand_quotas: dict[str, float] = field(default_factory=default_quotas)
    capacity_block_quotas: dict[str, float] = field(default_factory=default_block_quotas)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @property
    def visible_after(self) -> timedelta:
        """The time from a purchase until EC2's other responses list it."""
        return timedelta(seconds=self.visible_after_seconds)

    @property
    def payment(self) -> timedelta:
        """How long a purchase stays payment-pending: on AWS usually seconds, up to 12 hours."""
        return timedelta(seconds=self.payment_seconds)

    def is_out_of_capacity(self, instance_type: str) -> bool:
        """Whether no capacity of a type is left, on Capacity Blocks or on demand."""
        return bool({instance_type, "*"}.intersection(self.out_of_capacity))

    def change(self, body: Mapping[str, Any]) -> None:
        """Change the settings in `body`. Raises SettingsError and changes nothing if any of them is invalid."""
        known = ", ".join(_READERS)
        if not body:
            raise SettingsError(f"name at least one of {known}")
        unknown = sorted(body.keys() - _READERS.keys())
        if unknown:
            raise SettingsError(f"the market has no {', '.join(unknown)}; it has {known}")
        values = {name: _READERS[name](name, value) for name, value in body.items()}
        with self._lock:
            for name, value in values.items():
                setattr(self, name, {**getattr(self, name), **value} if name in _MERGED else value)

    def shown(self) -> dict[str, Any]:
        """All settings, in the format that `change` accepts."""
        with self._lock:
            settings = {name: getattr(self, name) for name in _READERS}
        searches, types = settings["searches"], list(settings["out_of_capacity"])
        return {**settings, "searches": asdict(searches) if searches else None, "out_of_capacity": types}


def _number(name: str, value: Any, maximum: float) -> float:
    is_number = not isinstance(value, bool) and isinstance(value, int | float)
    if not is_number or not math.isfinite(value) or not 0 <= value <= maximum:
        raise SettingsError(f"{name} is a number from 0 to {maximum}, not {value!r}")
    return value  # type: ignore[no-any-return] # an int stays an int in the response


def _seconds(name: str, value: Any) -> float:
    return _number(name, value, _MAX_SECONDS)


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(f"{name} is true or false, not {value!r}")
    return value


def _types(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(instance_type, str) for instance_type in value):
        raise SettingsError(f'{name} is a list of instance types, or ["*"] for all, not {value!r}')
    return tuple(value)


def _outcome(name: str, value: Any) -> Outcome:
    return _choice(name, value, Outcome)  # type: ignore[no-any-return]


def _health(name: str, value: Any) -> dict[str, Health]:
    if not isinstance(value, dict):
        raise SettingsError(f'{name} is an object such as {{"cr-…": "impaired"}}, not {value!r}')
    return {id_: _choice(f"{name} of {id_}", state, Health) for id_, state in value.items()}


def _quotas(name: str, value: Any) -> dict[str, float]:
    families = default_quotas() if name == "on_demand_quotas" else default_block_quotas()
    if not isinstance(value, dict) or value.keys() - families.keys():
        raise SettingsError(f"{name} is an object of vCPUs by family ({', '.join(families)}), not {value!r}")
    return {family: _number(f"{name}: {family}", vcpus, _MAX_VCPUS) for family, vcpus in value.items()}


def parse_rate_limit(name: str, value: Any) -> RateLimit | None:
    """The rate limit in a request to the control API, None for no limit. Raises SettingsError."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() - {"burst", "per_second"}:
        raise SettingsError(f'{name} is null or an object such as {{"burst": 2, "per_second": 0.5}}, not {value!r}')
    limit = RateLimit(**value)
    if isinstance(limit.burst, float):
        raise SettingsError(f"{name}: burst is a whole number, not {limit.burst!r}")
    _number(f"{name}: burst", limit.burst, _MAX_RATE)
    _number(f"{name}: per_second", limit.per_second, _MAX_RATE)
    return limit


def _choice(name: str, value: Any, choices: Any) -> Any:
    if value not in get_args(choices):
        raise SettingsError(f"{name} is one of {', '.join(get_args(choices))}, not {value!r}")
    return value


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "visible_after_seconds": _seconds,
    "payment_seconds": _seconds,
    "payment_outcome": _outcome,
    "searches": parse_rate_limit,
    "ultraservers": _boolean,
    "starts_soon": _boolean,
    "out_of_capacity": _types,
    "health": _health,
    "on_demand_quotas": _quotas,
    "capacity_block_quotas": _quotas,
}
