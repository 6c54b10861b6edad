"""Counts of the operations that clients called: `GET calls`, see docs/rehearsal.md.

A client needs permissions for the operations it calls, which are more than its documentation says. Refused and failed
requests count, too: AWS checks the permission first.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from moto.core.routing import get_service_router
from werkzeug.exceptions import NotFound


class Calls:
    """How often each operation was called, by service. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def note(self, service: str, request: Any) -> None:
        """Count a request to a service (moto's name for it), if it is for an operation."""
        if operation := operation_of(service, request):
            with self._lock:
                self._counts[service, operation] += 1

    def shown(self) -> dict[str, dict[str, int]]:
        """Counts by service and operation."""
        with self._lock:
            counts = sorted(self._counts.items())
        by_service: dict[str, dict[str, int]] = {}
        for (service, operation), count in counts:
            by_service.setdefault(service, {})[operation] = count
        return by_service


def operation_of(service: str, request: Any) -> str:
    """The operation of a request in any protocol; "" when there is none.

    The body must have been read before (`services`): Flask's form parser would consume it, and bodies for S3 may be
    declared as forms (`curl --data`).
    """
    if target := request.headers.get("X-Amz-Target"):
        return str(target).rpartition(".")[2]
    if action := request.form.get("Action") or request.args.get("Action"):
        return str(action)
    try:
        operation, _ = get_service_router(service).match(request)
    except (NotFound, NotImplementedError):
        return ""
    return str(operation.name)
