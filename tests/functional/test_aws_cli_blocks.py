"""Capacity Blocks through the AWS CLI, from the search to the end of a block."""

from datetime import datetime, timedelta

import pytest

from tests.functional.aws_cli import AwsCli
from tests.functional.support import AMI_PARAMETER

REGION = "sa-east-1"
SEARCH = (
    "ec2 describe-capacity-block-offerings --instance-type trn2.3xlarge --instance-count 1 --capacity-duration-hours 24"
)
UNKNOWN = "0123456789abcdef0"


@pytest.fixture
def cli(rehearsal_endpoint):
    return AwsCli({}, REGION)


@pytest.fixture
def state(cli):
    """Looks up a reservation's state, free and total instances, and end."""
    query = "CapacityReservations[0].[State,AvailableInstanceCount,TotalInstanceCount,EndDate]"

    def look(reservation_id):
        line = f"ec2 describe-capacity-reservations --capacity-reservation-ids {reservation_id} --query '{query}'"
        status, free, total, end = cli(line)
        return status, free, total, datetime.fromisoformat(end)

    return look


@pytest.fixture
def launch(ssm):
    """The command line that launches an instance on a reservation."""
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]
    return lambda reservation_id: (
        f"ec2 run-instances --image-id {image} --instance-type trn2.3xlarge --query 'Instances[0].InstanceId' "
        f"--instance-market-options MarketType=capacity-block --capacity-reservation-specification "
        f"CapacityReservationTarget={{CapacityReservationId={reservation_id}}}"
    )


def test_a_block_from_search_to_end(cli, state, launch, control, move_clock):
    offering = cli(SEARCH)["CapacityBlockOfferings"][0]
    start, end = (datetime.fromisoformat(offering[name]) for name in ("StartDate", "EndDate"))
    assert (offering["UpfrontFee"], offering["CurrencyCode"], offering["Tenancy"]) == ("53.64", "USD", "default")
    assert (offering["AvailabilityZone"], offering["InstanceCount"]) == ("sa-east-1b", 1)
    assert (end.hour, end.minute, end - start) == (11, 30, timedelta(hours=24))

    control("market", {"payment_seconds": 3600})
    buy = "ec2 purchase-capacity-block --instance-platform Linux/UNIX --capacity-block-offering-id"
    bought = cli(f"{buy} {offering['CapacityBlockOfferingId']} --query CapacityReservation.CapacityReservationId")
    assert state(bought) == ("payment-pending", 0, 1, end)
    control("clock", {"advance_seconds": 3600})
    assert state(bought) == ("scheduled", 0, 1, end)
    assert cli.refused(launch(bought)) == (
        "An error occurred (InvalidCapacityReservationState.PendingActivation) when calling the RunInstances "
        "operation: Your Capacity Block is not active yet."
    )

    move_clock(start)
    assert state(bought) == ("active", 1, 1, end)
    assert "(DryRunOperation)" in cli.refused(f"{launch(bought)} --dry-run")
    assert state(bought) == ("active", 1, 1, end)
    instance = cli(launch(bought))
    cli(f"ec2 wait instance-running --instance-ids {instance}")
    assert state(bought) == ("active", 0, 1, end)
    usage = cli(f"ec2 get-capacity-reservation-usage --capacity-reservation-id {bought}")
    assert (usage["State"], usage["TotalInstanceCount"], usage["AvailableInstanceCount"]) == ("active", 1, 0)
    assert usage["InstanceUsages"] == [{"AccountId": "123456789012", "UsedInstanceCount": 1}]
    of_reservation = f"--filters Name=capacity-reservation-id,Values={bought}"
    (found,) = cli(f"ec2 describe-instances {of_reservation} --query 'Reservations[].Instances[]'")
    assert (found["InstanceId"], found["InstanceLifecycle"]) == (instance, "capacity-block")
    assert found["Placement"]["AvailabilityZone"] == "sa-east-1b"
    assert cli.refused(launch(bought)) == (
        "An error occurred (ReservationCapacityExceeded) when calling the RunInstances operation: The requested "
        "reservation does not have sufficient compatible and available capacity for this request."
    )

    move_clock(end - timedelta(minutes=30))
    cli(f"ec2 wait instance-terminated --instance-ids {instance}")
    assert state(bought) == ("active", 0, 1, end)
    move_clock(end)
    assert state(bought) == ("expired", 0, 1, end)


def test_a_failed_payment(cli, state, control, offering):
    control("market", {"payment_outcome": "failed"})
    buy = "ec2 purchase-capacity-block --instance-platform Linux/UNIX --capacity-block-offering-id"
    bought = cli(f"{buy} {offering['CapacityBlockOfferingId']}")["CapacityReservation"]["CapacityReservationId"]
    control("clock", {"advance_seconds": 60})
    assert state(bought)[:3] == ("payment-failed", 0, 1)


def test_a_block_cannot_be_cancelled_or_modified(cli, state, active_block):
    bought = active_block["CapacityReservationId"]
    before = state(bought)
    for operation, more in (("Cancel", ""), ("Modify", "--instance-count 2")):
        line = f"ec2 {operation.lower()}-capacity-reservation --capacity-reservation-id {bought} {more}"
        assert cli.refused(line) == (
            f"An error occurred (OperationNotPermitted) when calling the {operation}CapacityReservation operation: "
            "You can't modify or cancel a Capacity Block."
        )
    assert state(bought) == before


def test_an_extension_and_its_history(cli, state, pay, active_block):
    bought, end = active_block["CapacityReservationId"], active_block["EndDate"]
    history = f"ec2 describe-capacity-block-extension-history --capacity-reservation-ids {bought}"
    assert cli(history) == {"CapacityBlockExtensions": []}
    (offered,) = cli(
        f"ec2 describe-capacity-block-extension-offerings --capacity-reservation-id {bought} "
        "--capacity-block-extension-duration-hours 24"
    )["CapacityBlockExtensionOfferings"]
    assert (offered["UpfrontFee"], offered["CapacityBlockExtensionDurationHours"]) == ("53.64", 24)
    buy = (
        f"ec2 purchase-capacity-block-extension --capacity-reservation-id {bought} "
        f"--capacity-block-extension-offering-id {offered['CapacityBlockExtensionOfferingId']}"
    )
    assert "(DryRunOperation)" in cli.refused(f"{buy} --dry-run")
    (extension,) = cli(buy)["CapacityBlockExtensions"]
    assert extension["CapacityBlockExtensionStatus"] == "payment-pending"
    pay()
    (extension,) = cli(history)["CapacityBlockExtensions"]
    assert extension["CapacityBlockExtensionStatus"] == "payment-succeeded"
    assert state(bought)[3] == datetime.fromisoformat(extension["CapacityBlockExtensionEndDate"])
    assert state(bought)[3] == end + timedelta(hours=24)


def test_the_block_and_its_status(cli, control, active_block):
    bought = active_block["CapacityReservationId"]
    (block,) = cli("ec2 describe-capacity-blocks")["CapacityBlocks"]
    assert (block["State"], block["CapacityReservationIds"]) == ("active", [bought])
    assert block["AvailabilityZone"] == "sa-east-1b"
    look = f"ec2 describe-capacity-block-status --capacity-block-ids {block['CapacityBlockId']}"
    (status,) = cli(look)["CapacityBlockStatuses"]
    assert (status["InterconnectStatus"], status["TotalCapacity"], status["TotalAvailableCapacity"]) == ("ok", 1, 1)
    control("market", {"health": {bought: "impaired"}})
    (status,) = cli(look)["CapacityBlockStatuses"]
    assert (status["InterconnectStatus"], status["TotalUnavailableCapacity"]) == ("impaired", 1)


def test_pages_are_combined_and_limited(cli, ec2, control):
    search = {"InstanceType": "trn2.3xlarge", "InstanceCount": 1, "CapacityDurationHours": 24}
    offerings = ec2.describe_capacity_block_offerings(**search)["CapacityBlockOfferings"]
    made = {
        ec2.purchase_capacity_block(
            CapacityBlockOfferingId=offering["CapacityBlockOfferingId"], InstancePlatform="Linux/UNIX"
        )["CapacityReservation"]["CapacityReservationId"]
        for offering in offerings[:3]
    }

    def calls():
        return control("calls")["ec2"].get("DescribeCapacityReservations", 0)

    before = calls()
    found = cli(
        "ec2 describe-capacity-reservations --page-size 1 --query 'CapacityReservations[].CapacityReservationId'"
    )
    assert (set(found), calls() - before) == (made, 3)
    first = cli("ec2 describe-capacity-reservations --max-items 2")
    assert len(first["CapacityReservations"]) == 2
    rest = cli(f"ec2 describe-capacity-reservations --starting-token {first['NextToken']}")
    assert "NextToken" not in rest
    pages = [*first["CapacityReservations"], *rest["CapacityReservations"]]
    assert {reservation["CapacityReservationId"] for reservation in pages} == made
    # Offerings that were bought are no longer on sale.
    assert len(cli(f"{SEARCH} --page-size 1 --max-items 2 --query 'CapacityBlockOfferings[].UpfrontFee'")) == 2


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            f"describe-capacity-reservations --capacity-reservation-ids cr-{UNKNOWN}",
            "An error occurred (InvalidCapacityReservationId.NotFound) when calling the DescribeCapacityReservations "
            f"operation: The capacity reservation 'cr-{UNKNOWN}' does not exist",
        ),
        (
            "describe-capacity-reservations --capacity-reservation-ids mine",
            "An error occurred (InvalidCapacityReservationId.Malformed) when calling the DescribeCapacityReservations "
            "operation: The ID 'mine' for the Capacity Reservation is malformed.",
        ),
        (
            f"purchase-capacity-block --instance-platform Linux/UNIX --capacity-block-offering-id cb-{UNKNOWN}",
            "An error occurred (InvalidCapacityBlockOfferingIdNotFound) when calling the PurchaseCapacityBlock",
        ),
        (
            "describe-capacity-block-offerings --instance-type trn2.3xlarge --capacity-duration-hours 25",
            "An error occurred (InvalidParameterValue) when calling the DescribeCapacityBlockOfferings operation",
        ),
        (
            f"describe-subnets --subnet-ids subnet-{UNKNOWN}",
            "An error occurred (InvalidSubnetID.NotFound) when calling the DescribeSubnets operation: "
            f"The subnet ID 'subnet-{UNKNOWN}' does not exist",
        ),
    ],
)
def test_unknown_ids_and_invalid_values(cli, line, error):
    assert cli.refused(f"ec2 {line}").startswith(error)


def test_an_expired_offering(cli, ec2, offering, move_clock):
    move_clock(offering["EndDate"])
    buy = "ec2 purchase-capacity-block --instance-platform Linux/UNIX --capacity-block-offering-id"
    error = cli.refused(f"{buy} {offering['CapacityBlockOfferingId']}")
    assert error.startswith("An error occurred (InvalidCapacityBlockOfferingIdExpired) when calling the Purchase")
    assert ec2.describe_capacity_reservations()["CapacityReservations"] == []


def test_zones_and_quotas(cli, control):
    zones = "ec2 describe-instance-type-offerings --location-type availability-zone --filters"
    (offered,) = cli(f"{zones} Name=instance-type,Values=trn2.3xlarge")["InstanceTypeOfferings"]
    (subnet,) = cli(f"ec2 describe-subnets --filters Name=availability-zone,Values={offered['Location']}")["Subnets"]
    zone = f"ec2 describe-subnets --subnet-ids {subnet['SubnetId']} --query 'Subnets[0].AvailabilityZone'"
    assert (offered["Location"], cli(zone)) == ("sa-east-1b", "sa-east-1b")
    quota = "service-quotas get-service-quota --service-code ec2 --quota-code L-2C3B7624"
    control("market", {"on_demand_quotas": {"trn": 12}})
    assert cli(f"{quota} --query Quota.[QuotaName,Value]") == ["Running On-Demand Trn instances", 12.0]


def test_an_on_demand_reservation(cli, state):
    make = "ec2 create-capacity-reservation --instance-type trn2.3xlarge --instance-platform Linux/UNIX"
    line = f"{make} --availability-zone sa-east-1b --instance-count 2"
    assert "(DryRunOperation)" in cli.refused(f"{line} --dry-run")
    made = cli(f"{line} --query CapacityReservation.CapacityReservationId")
    modify = f"ec2 modify-capacity-reservation --capacity-reservation-id {made}"
    assert cli(f"{modify} --instance-count 3 --end-date-type limited --end-date 2099-01-01T00:00:00Z") == {
        "Return": True
    }
    status, free, total, end = state(made)
    assert (status, free, total, f"{end:%F}") == ("active", 3, 3, "2099-01-01")
    assert cli(f"ec2 cancel-capacity-reservation --capacity-reservation-id {made}") == {"Return": True}
    assert state(made)[:2] == ("cancelled", 0)
