"""What can be rehearsed: one story a module, told in the verbs of `rehearsal.scenarios.demo`.

Each shows what something looks like to a user, and how to go on from there. To add one: a module with a docstring, the
first line of which `--help` says of it, and a function `play`; and its name here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

from rehearsal.scenarios.demo import Demo


@dataclass(frozen=True)
class Scenario:
    """`on_host`: whether it is about what happens on the machine, and needs one that boots."""

    name: str
    on_host: bool

    @property
    def summary(self) -> str:
        """What it shows, in a line."""
        return (self._module().__doc__ or "").partition("\n")[0]

    def play(self, demo: Demo) -> None:
        """SandboxError when something goes otherwise than the story."""
        play: Callable[[Demo], None] = self._module().play
        play(demo)

    def _module(self) -> ModuleType:
        return importlib.import_module(f"{__name__}.{self.name.replace('-', '_')}")


SCENARIOS: Mapping[str, Scenario] = {
    one.name: one
    for one in (
        Scenario("happy", on_host=True),
        Scenario("step-fails", on_host=True),
        Scenario("laptop-dies", on_host=True),
        Scenario("block-not-active", on_host=False),
        Scenario("wrong-zone", on_host=False),
        Scenario("capacity-gone", on_host=False),
        Scenario("payment-fails", on_host=False),
        Scenario("block-ends", on_host=True),
    )
}
