"""An AWS of several regions, to search: each answers a search by what it is, and may refuse it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.fakes import StandIn
from tests.unit.capacity_fakes import offering

Answer = Callable[[dict[str, Any]], "list[dict[str, Any]] | Exception"]


class FakeMarket(StandIn):
    """`sold` has an answer by region: what a search finds, or what it is refused with.

    `asked` are the searches that were made, in order of the region and then of time. Its clock goes on only by `wait`.
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

    def note(self, region: str, request: dict[str, Any]) -> None:
        with self._lock:
            self.asked.setdefault(region, []).append(request)


class _Region:
    """AWS in one region, and its client for EC2."""

    def __init__(self, market: FakeMarket, region: str) -> None:
        self._market = market
        self._region = region

    def ec2(self, *, wait: object = None) -> _Region:
        return self

    def get_paginator(self, operation: str) -> _Region:
        assert operation == "describe_capacity_block_offerings"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        self._market.note(self._region, request)
        answer = self._market.sold[self._region](request)
        if isinstance(answer, Exception):
            raise answer
        yield {"CapacityBlockOfferings": answer}


def selling(*offerings: dict[str, Any]) -> Answer:
    """Sells these, whatever is asked."""
    return lambda request: list(offerings)


def refusing(error: Exception) -> Answer:
    return lambda request: error


def selling_only(**wanted: Any) -> Answer:
    """Sells an offering to whoever asks for just this, by EC2's names; nothing to others."""
    return lambda request: [offering()] if wanted.items() <= request.items() else []
