"""A fake AWS of several regions, in which searches find offerings or are refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.fakes import StandIn
from tests.unit.capacity_fakes import offering

Answer = Callable[[dict[str, Any]], "list[dict[str, Any]] | Exception"]


class FakeMarket(StandIn):
    """`sold` has an answer per region: the offerings a search finds, or the error that refuses it.

    `asked` are the searches received, by region, and `waited` the pauses between them, in seconds.
    """

    def __init__(self, sold: dict[str, Answer], *, enabled: list[str] | Exception | None = None) -> None:
        self.sold = sold
        self.enabled = list(sold) if enabled is None else enabled
        self.asked: dict[str, list[dict[str, Any]]] = {}
        self.waited: list[float] = []
        self._lock = threading.Lock()

    def elsewhere(self, region: str) -> _Region:
        return _Region(self, region)

    def enabled_regions(self) -> list[str]:
        if isinstance(self.enabled, Exception):
            raise self.enabled
        return self.enabled

    def wait(self, seconds: float) -> None:
        with self._lock:
            self.waited.append(seconds)

    def record(self, region: str, request: dict[str, Any]) -> None:
        with self._lock:
            self.asked.setdefault(region, []).append(request)


class _Region:
    """AWS in one region, and its EC2 client."""

    def __init__(self, market: FakeMarket, region: str) -> None:
        self._market = market
        self._region = region

    def ec2(self, *, wait: object = None) -> _Region:
        return self

    def get_paginator(self, operation: str) -> _Region:
        assert operation == "describe_capacity_block_offerings"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        self._market.record(self._region, request)
        answer = self._market.sold[self._region](request)
        if isinstance(answer, Exception):
            raise answer
        yield {"CapacityBlockOfferings": answer}


def selling(*offerings: dict[str, Any]) -> Answer:
    """Every search finds these offerings."""
    return lambda request: list(offerings)


def refusing(error: Exception) -> Answer:
    """Every search fails with this error."""
    return lambda request: error


def selling_only(**parameters: Any) -> Answer:
    """A search with these parameters (EC2's names) finds an offering; any other finds none."""
    return lambda request: [offering()] if parameters.items() <= request.items() else []
