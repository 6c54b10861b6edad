"""Which operations the clients asked for: `GET calls`, see docs/rehearsal.md.

What a client needs permission for is what it calls, and it calls more than its documentation says. Every request to a
service is noted, refused and failed ones too: AWS would have asked for the permission before it refused them.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from moto.core.routing import get_service_router
from werkzeug.exceptions import NotFound


class Calls:
    """How often each operation was asked for, by service. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: Counter[tuple[str, str]] = Counter()

    def note(self, service: str, request: Any) -> None:
        """Count a request to a service, by moto's name for it. One that is no operation is not counted."""
        if operation := operation_of(service, request):
            with self._lock:
                self._counted[service, operation] += 1

    def shown(self) -> dict[str, dict[str, int]]:
        """Operations as AWS's API references name them, and their counts, by service."""
        with self._lock:
            counted = sorted(self._counted.items())
        by_service: dict[str, dict[str, int]] = {}
        for (service, operation), times in counted:
            by_service.setdefault(service, {})[operation] = times
        return by_service


def operation_of(service: str, request: Any) -> str:
    """The operation a request is for, wherever the service's protocol puts it; "" for none.

    What was sent has been read whole before (`services`), else a form in it would be taken out of it: S3's bodies may
    be said to be forms (`curl --data`).
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
