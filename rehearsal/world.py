"""What the parts of one rehearsal share, and what the passing of time does to instances and commands."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from rehearsal import state_folder
from rehearsal.aws.iam.access_keys import AccessKeys
from rehearsal.aws.ssm.command_engine import CommandEngine
from rehearsal.calls import Calls
from rehearsal.clock import Clock
from rehearsal.conformance.violations import Violations
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
    """One AWS.

    `launching` is held while instances are launched or terminated and volumes attached, so that two launches can't take
    the same capacity, two instances the same volume, and nothing is terminated twice at once.
    """

    clock: Clock
    market: Market
    fleet: Fleet
    links: Links
    latency: Latency
    commands: CommandEngine
    keys: AccessKeys
    on_demand: OnDemandReservations = field(default_factory=OnDemandReservations)
    search_limits: SearchLimits = field(default_factory=SearchLimits)
    rates: CallRates = field(default_factory=CallRates)
    faults: Faults = field(default_factory=Faults)
    volumes: Volumes = field(default_factory=Volumes)
    calls: Calls = field(default_factory=Calls)
    misfits: Violations = field(default_factory=Violations)
    launching: threading.RLock = field(default_factory=threading.RLock)
    launches_by_token: dict[tuple[str, str], Any] = field(default_factory=dict)

    def settle(self) -> None:
        """Apply what is due by the clock: terminate instances on blocks near their end, expire commands.

        Called before every response, after every move of the clock and every second.
        Source: EC2 user guide, "Work with Capacity Blocks": termination begins 30 minutes before the end.
        """
        with self.launching:
            for region, instance_ids in self.market.instances_to_terminate().items():
                backend = ec2_backends[ACCOUNT][region]
                for instance in backend.get_multi_instances_by_id(instance_ids):
                    instance.terminate()
                self.release(instance_ids)
        self.commands.expire()

    def release(self, instance_ids: Iterable[str]) -> None:
        """Release what terminated instances held: capacity, commands, links, hosts, deleted volumes."""
        ids = list(instance_ids)
        self.market.release(ids)
        self.commands.abandon(ids)
        self.links.reconnect(ids)
        for instance_id in ids:
            self.fleet.destroy_in_background(instance_id)
        self.drop_deleted_volumes()

    def drop_deleted_volumes(self) -> None:
        """Delete the data of volumes that no longer exist in EC2."""
        self.volumes.keep([volume_id for backend in ec2_backends[ACCOUNT].values() for volume_id in backend.volumes])

    def data_volumes(self, instance: Any) -> list[Volume]:
        """An instance's volumes without the root volume."""
        return [
            self.volumes.get(attachment.volume_id, attachment.size)
            for device, attachment in instance.get_block_device_mapping
            if device != instance.root_device_name
        ]

    def close(self) -> None:
        """Stop all commands, power off all hosts, close all volumes; what is kept in a state folder stays."""
        self.commands.close(self.fleet.states())
        self.fleet.close()
        self.volumes.close()

    def erase(self) -> None:
        """Close, and delete what is kept in a state folder."""
        self.close()
        self.volumes.keep([])
        self.fleet.keep([])
        self.commands.erase()

    def snapshot(self) -> dict[str, Any]:
        """The state for `restore` in the next rehearsal, without hosts, commands and volumes, which store their own.

        Faults, rates, latency and call counts are not kept.
        """
        return {
            "real": datetime.now(timezone.utc),
            "clock": self.clock.now(),
            "links": self.links.snapshot(),
            "market": self.market.snapshot(),
            "on_demand": self.on_demand.snapshot(),
            "launches": dict(self.launches_by_token),
            "moto": state_folder.moto_state(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue from a snapshot: time has passed since, and every host that still has an instance boots again."""
        state_folder.restore_moto_state(snapshot["moto"])
        self.market.restore(snapshot["market"])
        self.on_demand.restore(snapshot["on_demand"])
        self.launches_by_token.update(snapshot["launches"])
        self.links.restore(snapshot["links"])
        self.commands.load()
        self.settle()
        self._launch_hosts()
        self.drop_deleted_volumes()
        self.commands.resume()

    def _launch_hosts(self) -> None:
        """Boot the hosts of running instances; an instance whose host has no files was being terminated."""
        terminated: list[str] = []
        for region, backend in list(ec2_backends[ACCOUNT].items()):
            for instance in backend.all_instances():
                if instance.state != "running":
                    continue
                if self.fleet.can_resume(instance.id):
                    self.fleet.launch(instance.id, region=region, volumes=self.data_volumes(instance))
                else:
                    instance.terminate()
                    terminated.append(instance.id)
        self.release(terminated)
        self.fleet.keep(self.fleet.states())
