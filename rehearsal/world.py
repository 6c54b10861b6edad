"""What the parts of one rehearsal share, and the one thing that happens by itself: time's effect on instances."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from rehearsal import keeping
from rehearsal.aws.iam.access_keys import AccessKeys
from rehearsal.aws.ssm.command_engine import CommandCentre
from rehearsal.calls import Calls
from rehearsal.clock import Clock
from rehearsal.conformance.violations import Misfits
from rehearsal.faults.latency import Latency
from rehearsal.faults.settings import Faults
from rehearsal.hosts.fleet import Fleet
from rehearsal.hosts.volumes import Volume, Volumes
from rehearsal.links import Links
from rehearsal.market.capacity_blocks import Market
from rehearsal.market.on_demand import OnDemandReservations
from rehearsal.market.throttling import CallRates, SearchLimits

ACCOUNT = DEFAULT_ACCOUNT_ID
"""The one account there is."""


@dataclass
class World:
    """One AWS. `launching` is held while instances are launched or terminated, and volumes attached, so that two
    launches can't take one slot, nor two instances one volume, and nothing is terminated twice at once.
    """

    clock: Clock
    market: Market
    fleet: Fleet
    links: Links
    latency: Latency
    commands: CommandCentre
    keys: AccessKeys
    on_demand: OnDemandReservations = field(default_factory=OnDemandReservations)
    search_limits: SearchLimits = field(default_factory=SearchLimits)
    rates: CallRates = field(default_factory=CallRates)
    faults: Faults = field(default_factory=Faults)
    volumes: Volumes = field(default_factory=Volumes)
    calls: Calls = field(default_factory=Calls)
    misfits: Misfits = field(default_factory=Misfits)
    launching: threading.RLock = field(default_factory=threading.RLock)
    launches_by_token: dict[tuple[str, str], Any] = field(default_factory=dict)

    def settle(self) -> None:
        """Bring all up to date with the clock: instances on blocks near their end are terminated, commands expire.

        Called before every answer, after every move of the clock and every second, so nobody sees or uses what is past.
        Source: EC2 user guide, "Work with Capacity Blocks": termination begins 30 minutes before the end.
        """
        with self.launching:
            for region, instance_ids in self.market.doomed().items():
                backend = ec2_backends[ACCOUNT][region]
                for instance in backend.get_multi_instances_by_id(instance_ids):
                    instance.terminate()
                self.gone(instance_ids)
        self.commands.expire()

    def gone(self, instance_ids: Iterable[str]) -> None:
        """Let go of what terminated instances held: their capacity, the commands on them, their hosts."""
        ended = list(instance_ids)
        self.market.release(ended)
        self.commands.lose(ended)
        self.links.restore(ended)
        for instance_id in ended:
            self.fleet.destroy_in_background(instance_id)
        self.drop_deleted_volumes()

    def drop_deleted_volumes(self) -> None:
        """Let go of the data of volumes that EC2 no longer has."""
        self.volumes.keep([volume_id for backend in ec2_backends[ACCOUNT].values() for volume_id in backend.volumes])

    def disks(self, instance: Any) -> list[Volume]:
        """The volumes that an instance has beside its root volume."""
        return [
            self.volumes.get(attachment.volume_id, attachment.size)
            for device, attachment in instance.get_block_device_mapping
            if device != instance.root_device_name
        ]

    def close(self) -> None:
        """End every command, power every host off, let go of every volume. What is to outlive this process does."""
        self.commands.close(self.fleet.states())
        self.fleet.close()
        self.volumes.close()

    def erase(self) -> None:
        """The same, and nothing outlives it."""
        self.close()
        self.volumes.keep([])
        self.fleet.keep([])
        self.commands.erase()

    def kept(self) -> dict[str, Any]:
        """What the next rehearsal can take up, beside hosts, commands and volumes, which keep themselves.

        Faults, rates, latency and counts of calls are as at first.
        """
        return {
            "real": datetime.now(timezone.utc),
            "clock": self.clock.now(),
            "links": self.links.kept(),
            "market": self.market.kept(),
            "on_demand": self.on_demand.kept(),
            "launches": dict(self.launches_by_token),
            "moto": keeping.backends(),
        }

    def take_up(self, kept: Mapping[str, Any]) -> None:
        """Go on from there: some time has passed, and every host that still has an instance is rebooted."""
        keeping.put_back(kept["moto"])
        self.market.take_up(kept["market"])
        self.on_demand.take_up(kept["on_demand"])
        self.launches_by_token.update(kept["launches"])
        self.links.take_up(kept["links"])
        self.commands.take_up()
        self.settle()
        self._launch_again()
        self.drop_deleted_volumes()
        self.commands.go_on()

    def _launch_again(self) -> None:
        """Boot the hosts of instances that run; one whose files are gone was being terminated."""
        ended: list[str] = []
        for region, backend in list(ec2_backends[ACCOUNT].items()):
            for instance in backend.all_instances():
                if instance.state != "running":
                    continue
                if self.fleet.can_go_on(instance.id):
                    self.fleet.launch(instance.id, region=region, volumes=self.disks(instance))
                else:
                    instance.terminate()
                    ended.append(instance.id)
        self.gone(ended)
        self.fleet.keep(self.fleet.states())
