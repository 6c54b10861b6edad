"""The scenarios that can be rehearsed, one per module, written in the verbs of `rehearsal.scenarios.demo`.

Each shows what a user sees when something fails, and how to continue. To add a scenario, write a module with a
function `play` and a docstring whose first line is its entry in `--help`, and add its name here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

from rehearsal.scenarios.demo import Demo


@dataclass(frozen=True)
class Scenario:
    """`on_host`: whether it needs a host that boots."""

    name: str
    on_host: bool

    @property
    def summary(self) -> str:
        return (self._module().__doc__ or "").partition("\n")[0]

    def play(self, demo: Demo) -> None:
        """Raises SandboxError when a command does not end as the scenario expects."""
        play: Callable[[Demo], None] = self._module().play
        play(demo)

    def _module(self) -> ModuleType:
        return importlib.import_module(f"{__name__}.{self.name.replace('-', '_')}")


SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
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
