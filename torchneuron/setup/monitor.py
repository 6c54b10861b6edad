"""What a run tells while it goes on. `report` has monitors for terminals, logs and programs; tests record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torchneuron.core.errors import TorchNeuronError
from torchneuron.setup.plan import Plan
from torchneuron.setup.steps import StepStatus


@dataclass(frozen=True)
class Outcome:
    """How the run ended on an instance: what ran now, what had finished before, and what stopped it, if something did.

    `left_out` are tasks that were not chosen, `failed_optional` such as failed and stopped nothing. `said` has the last
    line of each task that succeeded now.
    """

    instance_id: str
    ran: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    failed_optional: tuple[str, ...] = ()
    failure: TorchNeuronError | None = None
    said: Mapping[str, str] = field(default_factory=dict)


class Monitor(Protocol):
    """Told in this order: what was planned, what was sent, how steps stand, how it ended; `told` at any time."""

    def planned(self, plans: Mapping[str, Plan]) -> None:
        """What becomes of each task, by instance."""

    def sent(self, command_id: str, instance_ids: Sequence[str], *, attached: bool) -> None:
        """A command is under way on the instances; `attached` when an earlier run had sent it."""

    def progress(self, instance_id: str, steps: Sequence[StepStatus]) -> None:
        """How the steps of the command under way stand on an instance. Told again and again."""

    def told(self, text: str) -> None:
        """Something a person should know."""

    def ended(self, outcome: Outcome) -> None:
        """The run is over on an instance."""
