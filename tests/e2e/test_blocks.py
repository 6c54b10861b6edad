"""`invoke deploy` with two paid blocks and on demand, with the real Terraform and provider.

The tests share one rehearsal and run in order, as its clock advances.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import Sandbox, SandboxError, run
from tests.e2e.conftest import REGION, client
from tests.sandboxes import open_sandbox

DEPLOY = ("deploy", "--skip-setup", "-r", REGION)
ON_BLOCK = (*DEPLOY, "--use-capacity-block")


@dataclass(frozen=True)
class Account:
    """An account with an active, saved block and one that starts later."""

    sandbox: Sandbox
    first: str
    second: str
    second_start: datetime
    output: str

    def invoke(self, *arguments: str) -> str:
        return run(self.sandbox, ["sh", "-c", 'exec invoke "$@" 2>&1', "sh", *arguments])

    def refused(self, *arguments: str) -> str:
        """Run a command that has to exit with status 2."""
        return run(self.sandbox, ["invoke", *arguments], merge=True, status=2)

    def machines(self) -> list[str | None]:
        """The block of each machine; None for on demand."""
        running = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        found = client(self.sandbox, "ec2").describe_instances(Filters=running)["Reservations"]
        return [instance.get("CapacityReservationId") for group in found for instance in group["Instances"]]

    def saved(self) -> str:
        return main_job.reservation_in(self.invoke("cb.load-params", "-r", REGION))


@pytest.fixture(scope="module")
def account():
    with open_sandbox(region=REGION, host_suite="none") as sandbox:
        stage = Demo(sandbox, REGION)
        start = datetime.fromisoformat(main_job.prepare(stage).start)
        first = main_job.saved_block(stage)
        after = (start + timedelta(days=2)).isoformat()
        found = run(sandbox, ["invoke", "cb.search", "-r", REGION, "--start-after", after]).split()
        offering = found[found.index("--offering-id") + 1]
        output = run(sandbox, ["invoke", "cb.purchase", "--offering-id", offering, "-r", REGION, "--yes"])
        blocks = client(sandbox, "ec2").describe_capacity_reservations()["CapacityReservations"]
        (second,) = [block for block in blocks if block["CapacityReservationId"] != first]
        yield Account(sandbox, first, second["CapacityReservationId"], second["StartDate"], output)


def test_second_purchase_leaves_the_first_block_saved(account):
    assert f"{account.first} stays saved for {REGION}: active" in account.output
    assert account.saved() == account.first


@pytest.mark.attack("runs invoke deploy without options while a paid, active block is free")
def test_deploy_without_options_is_refused_while_a_block_is_free(account):
    output = account.refused(*DEPLOY, "--yes")
    assert f"{account.first}: trn2.3xlarge in sa-east-1b, active, 1 of 1 free" in output
    assert account.second not in output
    assert f"invoke deploy -t trn2.3xlarge -r {REGION} --use-capacity-block" in output
    assert f"invoke deploy -t trn2.3xlarge -r {REGION} --on-demand" in output
    assert client(account.sandbox, "secretsmanager").list_secrets()["SecretList"] == []


@pytest.mark.attack("starts a machine on demand from a script, without confirmation")
def test_on_demand_launch_needs_confirmation(account):
    output = account.refused(*DEPLOY, "--on-demand")
    assert "This starts 1 x trn2.3xlarge on demand in sa-east-1: price unknown" in output
    assert "is sold as Capacity Blocks only" in output
    assert "Nothing was started." in output
    assert account.machines() == []


@pytest.mark.attack("buys a second block while the first is active, then deploys")
def test_deploy_launches_on_the_active_block(account):
    account.invoke(*ON_BLOCK)
    assert account.machines() == [account.first]
    assert "Nothing to change." in account.invoke(*DEPLOY)


def test_next_block_is_saved_when_the_first_has_ended(account):
    account.sandbox.control("clock", {"to": account.second_start.isoformat()})
    assert account.machines() == []
    output = account.invoke(*DEPLOY)
    assert f"The Capacity Block {account.first} is over." in output
    assert account.machines() == [account.second]
    assert f"{account.second} is saved as the current block of {REGION}." in output
    assert account.saved() == account.second


def test_on_demand_machine_is_launched_with_on_demand_and_redeployed_without_it(account):
    account.invoke("destroy", "--yes", "-r", REGION)
    account.invoke(*DEPLOY, "--on-demand", "--yes")
    assert account.machines() == [None]
    # This deploy launches nothing, so the free block is no reason to refuse it.
    assert "Nothing to change." in account.invoke(*DEPLOY)
    with pytest.raises(SandboxError, match="choose between it and on demand"):
        account.invoke(*DEPLOY, "--count", "2", "--yes")
