"""Two paid blocks and on demand: what `invoke deploy` launches on, with the real Terraform and provider.

The tests share one AWS and stand in the order in which time passes.
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
    told: str

    def invoke(self, *arguments: str) -> str:
        return run(self.sandbox, ["sh", "-c", 'exec invoke "$@" 2>&1', "sh", *arguments])

    def refused(self, *arguments: str) -> str:
        """Run a command that has to end with status 2."""
        return run(self.sandbox, ["invoke", *arguments], merge=True, status=2)

    def machines(self) -> list[str | None]:
        """The block of each machine there is; None for one on demand."""
        there = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        found = client(self.sandbox, "ec2").describe_instances(Filters=there)["Reservations"]
        return [one.get("CapacityReservationId") for group in found for one in group["Instances"]]

    def saved(self) -> str:
        return main_job.reservation_in(self.invoke("cb.load-params", "-r", REGION))


@pytest.fixture(scope="module")
def account():
    with open_sandbox(region=REGION, host_suite="none") as sandbox:
        stage = Demo(sandbox, REGION)
        begun = datetime.fromisoformat(main_job.prepare(stage).start)
        first = main_job.saved_block(stage)
        after = (begun + timedelta(days=2)).isoformat()
        found = run(sandbox, ["invoke", "cb.search", "-r", REGION, "--start-after", after]).split()
        offering = found[found.index("--offering-id") + 1]
        told = run(sandbox, ["invoke", "cb.purchase", "--offering-id", offering, "-r", REGION, "--yes"])
        blocks = client(sandbox, "ec2").describe_capacity_reservations()["CapacityReservations"]
        (second,) = [one for one in blocks if one["CapacityReservationId"] != first]
        yield Account(sandbox, first, second["CapacityReservationId"], second["StartDate"], told)


def test_second_purchase_leaves_the_first_block_saved(account):
    assert f"{account.first} stays saved for {REGION}: active" in account.told
    assert account.saved() == account.first


@pytest.mark.attack("invoke deploy, without an option, beside a paid, active and free block")
def test_plain_deploy_beside_a_free_block_is_refused_and_makes_nothing(account):
    told = account.refused(*DEPLOY, "--yes")
    assert f"{account.first}: trn2.3xlarge in sa-east-1b, active, 1 of 1 free" in told
    assert account.second not in told
    assert f"invoke deploy -t trn2.3xlarge -r {REGION} --use-capacity-block" in told
    assert f"invoke deploy -t trn2.3xlarge -r {REGION} --on-demand" in told
    assert client(account.sandbox, "secretsmanager").list_secrets()["SecretList"] == []


@pytest.mark.attack("start a machine on demand without an answer, from a script")
def test_on_demand_launch_needs_an_answer(account):
    told = account.refused(*DEPLOY, "--on-demand")
    assert "This starts 1 x trn2.3xlarge on demand in sa-east-1: price unknown" in told
    assert "is sold as Capacity Blocks only" in told
    assert "Nothing was started." in told
    assert account.machines() == []


@pytest.mark.attack("buy a second block while the first is active, then deploy")
def test_deploy_lands_on_the_block_that_is_active(account):
    account.invoke(*ON_BLOCK)
    assert account.machines() == [account.first]
    assert "Nothing to change." in account.invoke(*DEPLOY)


def test_next_block_moves_up_when_the_first_is_over(account):
    account.sandbox.control("clock", {"to": account.second_start.isoformat()})
    assert account.machines() == []
    told = account.invoke(*DEPLOY)
    assert f"The Capacity Block {account.first} is over." in told
    assert account.machines() == [account.second]
    assert f"{account.second} is saved as the current block of {REGION}." in told
    assert account.saved() == account.second


def test_on_demand_machine_is_launched_on_request_and_redeployed_without_one(account):
    account.invoke("destroy", "--yes", "-r", REGION)
    account.invoke(*DEPLOY, "--on-demand", "--yes")
    assert account.machines() == [None]
    # It launches nothing, so the free block beside it is no reason to refuse.
    assert "Nothing to change." in account.invoke(*DEPLOY)
    with pytest.raises(SandboxError, match="choose between it and on demand"):
        account.invoke(*DEPLOY, "--count", "2", "--yes")
