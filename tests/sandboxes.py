"""Sandboxes for tests, which fail at the end when a response has violated AWS's service model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rehearsal.scenarios import sandbox
from rehearsal.scenarios.sandbox import Sandbox


@contextmanager
def open_sandbox(*, region: str, host_suite: str, options: Sequence[str] = ()) -> Iterator[Sandbox]:
    with sandbox.open_sandbox(region=region, host_suite=host_suite, options=options) as opened:
        yield opened
        violations = opened.control("misfits")["misfits"]
        assert not violations, f"responses that violate AWS's model: {violations}"
