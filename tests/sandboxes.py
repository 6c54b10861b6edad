"""Rehearsals for tests: the product's own, and every answer they gave has to be as AWS's model has it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rehearsal.scenarios import sandbox
from rehearsal.scenarios.sandbox import Sandbox


@contextmanager
def open_sandbox(*, region: str, host_suite: str, options: Sequence[str] = ()) -> Iterator[Sandbox]:
    with sandbox.open_sandbox(region=region, host_suite=host_suite, options=options) as opened:
        yield opened
        misfits = opened.control("misfits")["misfits"]
        assert not misfits, f"answers that are not as AWS's model has them: {misfits}"
