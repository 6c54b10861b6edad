"""`invoke cb.list`, `cb.describe` and `cb.cancel` against the rehearsal."""

import json
from datetime import timedelta

import pytest

from tests.functional.support import AMI_PARAMETER

REGION, OHIO = "sa-east-1", "us-east-2"
UNKNOWN = "cr-0123456789abcdef0"
EACH = [["cb.describe"], ["cb.cancel", "--yes"]]


@pytest.fixture
def seen(invoke):
    """A reservation as `cb.describe --output json` prints it."""

    def look(reservation_id, region=REGION):
        done = invoke("cb.describe", "--reservation-id", reservation_id, "-r", region, "--output", "json")
        return json.loads(done.out)

    return look


@pytest.fixture
def on_demand(client):
    """The id of an on-demand reservation in Ohio."""
    return client("ec2", OHIO).create_capacity_reservation(
        InstanceType="trn1.32xlarge", InstancePlatform="Linux/UNIX", AvailabilityZone="us-east-2c", InstanceCount=2
    )["CapacityReservation"]["CapacityReservationId"]


def launch(ec2, ssm, reservation_id):
    return ec2.run_instances(
        ImageId=ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"],
        InstanceType="trn2.3xlarge",
        MinCount=1,
        MaxCount=1,
        InstanceMarketOptions={"MarketType": "capacity-block"},
        CapacityReservationSpecification={"CapacityReservationTarget": {"CapacityReservationId": reservation_id}},
    )["Instances"][0]["InstanceId"]


def test_block_is_shown_from_its_purchase_to_its_end(invoke, bought, seen, move_clock, ec2, ssm):
    scheduled = seen(bought)
    assert (scheduled["state"], scheduled["price"], scheduled["currency"]) == ("scheduled", "53.64", "USD")
    assert scheduled["outlook"].startswith("starts in ")
    assert scheduled["secondsToStart"] > 0
    (raw,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    assert scheduled["start"] == f"{raw['StartDate']:%Y-%m-%dT%H:%M:%SZ}"
    assert scheduled["arn"] == raw["CapacityReservationArn"]

    move_clock(raw["StartDate"] + timedelta(hours=1))
    active = seen(bought)
    assert (active["instancesTotal"], active["instancesAvailable"], active["instances"]) == (1, 1, [])
    instance = launch(ec2, ssm, bought)
    active = seen(bought)
    assert active["instancesAvailable"] == 0
    assert [running["id"] for running in active["instances"]] == [instance]
    assert "instances are terminated in 2" in invoke("cb.list", "-r", REGION).out

    move_clock(raw["EndDate"] - timedelta(minutes=20))
    shown = invoke("cb.list", "-r", REGION).out
    assert "instances are being terminated" in shown
    assert "extend until" not in shown

    move_clock(raw["EndDate"] + timedelta(days=1))
    assert "expired: ended 1 d ago" in invoke("cb.describe", "--reservation-id", bought, "-r", REGION).out


def test_json_list_prints_nothing_else(invoke, bought, seen):
    done = invoke("cb.list", "-r", REGION, "--output", "json")
    (listed,) = json.loads(done.out)["reservations"]
    whole = seen(bought)
    assert whole.pop("extensions") == []
    assert listed["notReadable"] == {}
    assert (listed["id"], listed["health"]) == (bought, whole["health"])
    assert listed.keys() == whole.keys()
    assert done.err == ""


def test_region_without_blocks(invoke, on_demand):
    assert invoke("cb.list", "-r", OHIO).out == f"No Capacity Block in {OHIO}.\n"
    assert json.loads(invoke("cb.list", "-r", OHIO, "--output", "json").out)["reservations"] == []


def test_health_and_extensions_are_shown(invoke, bought, control):
    control("market", {"health": {bought: "impaired"}})
    invoke("cb.extend", "--reservation-id", bought, "-d", "48", "-r", REGION, "--yes", "--no-save")
    shown = invoke("cb.describe", "--reservation-id", bought, "-r", REGION).out
    assert "interconnect impaired" in shown
    assert "48 h to " in shown
    assert "for 107.28 USD: payment succeeded" in shown


def test_pending_or_failed_payment_says_what_it_means(invoke, control, ec2, offering, move_clock):
    control("market", {"payment_seconds": 3600, "payment_outcome": "failed"})
    bought = ec2.purchase_capacity_block(
        CapacityBlockOfferingId=offering["CapacityBlockOfferingId"], InstancePlatform="Linux/UNIX"
    )["CapacityReservation"]
    describe = ["cb.describe", "--reservation-id", bought["CapacityReservationId"], "-r", REGION]
    assert "the block is lost only if it fails" in invoke(*describe).out
    move_clock(bought["CreateDate"] + timedelta(hours=2))
    shown = invoke(*describe).out
    assert "payment failed: AWS has released the block, and nothing was paid" in shown
    assert "check the payment method" in shown
    assert "nothing was paid" in " ".join(invoke("cb.list", "-r", REGION).out.replace("│", " ").split())


@pytest.mark.parametrize("command", EACH)
@pytest.mark.parametrize(
    ("reservation_id", "message"),
    [
        (UNKNOWN, f"Capacity reservation {UNKNOWN} does not exist in {REGION}."),
        ("vpc-0123456789abcdef0", "is not an id for --reservation-id"),
        ("", "Missing option: --reservation-id"),
    ],
)
def test_invalid_id_gets_one_message(invoke, command, reservation_id, message):
    done = invoke(*command, "--reservation-id", reservation_id, "-r", REGION, status=2)
    assert done.out == ""
    assert done.err.count("Error:") == 1
    assert message in done.err


@pytest.mark.parametrize("command", [["cb.list"], ["cb.describe", "--reservation-id", UNKNOWN]])
def test_unknown_output_is_refused(invoke, command):
    refused = invoke(*command, "--output", "yaml", status=2)
    assert "There is no --output 'yaml'" in refused.err
    assert "json" in refused.err


def test_on_demand_reservation_is_described_and_cancelled_once(invoke, on_demand, seen):
    assert (seen(on_demand, OHIO)["type"], seen(on_demand, OHIO)["end"]) == ("default", None)
    cancel = ["cb.cancel", "--reservation-id", on_demand, "-r", OHIO]
    assert "Add --yes" in invoke(*cancel, status=2).err
    assert seen(on_demand, OHIO)["state"] == "active"
    assert f"{on_demand} is cancelled." in invoke(*cancel, "--yes").out
    assert seen(on_demand, OHIO)["state"] == "cancelled"
    assert "is cancelled already: there is nothing to cancel" in invoke(*cancel).out


def test_block_is_never_cancelled_and_the_refusal_says_why(invoke, bought, seen):
    before = seen(bought)
    refused = invoke("cb.cancel", "--reservation-id", bought, "-r", REGION, "--yes", status=1)
    assert refused.out == ""
    for text in (
        "is a Capacity Block, which AWS never cancels. Nothing was changed.",
        "Paid: 53.64 USD, in full",
        "All of it remains usable: it starts in",
        "invoke deploy --use-capacity-block -t trn2.3xlarge -r sa-east-1",
        f"--resource-arns {before['arn']} --principals ACCOUNT-ID",
    ):
        assert text in refused.err
    assert seen(bought)["state"] == before["state"] == "scheduled"
