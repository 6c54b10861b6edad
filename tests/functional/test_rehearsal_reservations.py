"""On-demand reservations, tags, and the effect of the market's settings on purchased blocks."""

from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from tests.functional.support import refusal

pytestmark = pytest.mark.every_day
REQUEST = {
    "InstanceType": "trn1.32xlarge",
    "InstancePlatform": "Linux/UNIX",
    "AvailabilityZone": "us-east-2c",
    "InstanceCount": 2,
}


@pytest.fixture
def ohio(client):
    return client("ec2", "us-east-2")


@pytest.fixture
def on_demand(ohio):
    tags = [{"ResourceType": "capacity-reservation", "Tags": [{"Key": "Team", "Value": "ours"}]}]
    return ohio.create_capacity_reservation(**REQUEST, TagSpecifications=tags)["CapacityReservation"]


def look(ec2, reservation_id):
    (reservation,) = ec2.describe_capacity_reservations(CapacityReservationIds=[reservation_id])["CapacityReservations"]
    return reservation


def test_an_on_demand_reservation(ohio, on_demand):
    assert (on_demand["State"], on_demand["ReservationType"]) == ("active", "default")
    assert (on_demand["EndDateType"], on_demand["InstanceMatchCriteria"]) == ("unlimited", "open")
    assert "EndDate" not in on_demand
    assert (on_demand["TotalInstanceCount"], on_demand["AvailableInstanceCount"]) == (2, 2)
    assert on_demand["Tags"] == [{"Key": "Team", "Value": "ours"}]
    assert look(ohio, on_demand["CapacityReservationId"]) == on_demand


def test_an_on_demand_reservation_can_be_cancelled_once(ohio, on_demand):
    cancel = {"CapacityReservationId": on_demand["CapacityReservationId"]}
    assert refusal(ohio.cancel_capacity_reservation, **cancel, DryRun=True) == "DryRunOperation"
    assert ohio.cancel_capacity_reservation(**cancel)["Return"] is True
    assert look(ohio, on_demand["CapacityReservationId"])["State"] == "cancelled"
    assert refusal(ohio.cancel_capacity_reservation, **cancel) == "InvalidCapacityReservationState"


def test_a_client_token_creates_one_reservation(ohio):
    first, second = (
        ohio.create_capacity_reservation(**REQUEST, ClientToken="once")["CapacityReservation"] for _ in range(2)
    )
    assert first["CapacityReservationId"] == second["CapacityReservationId"]


def test_a_limited_reservation_expires(ohio, control, move_clock):
    end = look(ohio, ohio.create_capacity_reservation(**REQUEST)["CapacityReservation"]["CapacityReservationId"])[
        "CreateDate"
    ] + timedelta(hours=2)
    limited = {**REQUEST, "EndDate": end, "EndDateType": "limited"}
    made = ohio.create_capacity_reservation(**limited)["CapacityReservation"]
    assert made["EndDate"] == end.replace(microsecond=made["EndDate"].microsecond)
    move_clock(end + timedelta(seconds=1))
    assert look(ohio, made["CapacityReservationId"])["State"] == "expired"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"EndDateType": "limited"}, "InvalidParameterCombination"),
        ({"InstanceType": "trn9.large"}, "InvalidParameterValue"),
        ({"InstanceType": "trn2.3xlarge"}, "Unsupported"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_invalid_reservations_are_refused(ohio, change, code):
    assert refusal(ohio.create_capacity_reservation, **{**REQUEST, **change}) == code


def test_instances_can_be_filtered_by_reservation(ec2, active_block, ssm):
    from tests.functional.support import AMI_PARAMETER

    def by(reservation_id):
        filters = [{"Name": "capacity-reservation-id", "Values": [reservation_id]}]
        found = ec2.describe_instances(Filters=filters)["Reservations"]
        return [instance["InstanceId"] for group in found for instance in group["Instances"]]

    assert by(active_block["CapacityReservationId"]) == []
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]
    (made,) = ec2.run_instances(
        ImageId=image,
        InstanceType="trn2.3xlarge",
        MinCount=1,
        MaxCount=1,
        InstanceMarketOptions={"MarketType": "capacity-block"},
        CapacityReservationSpecification={
            "CapacityReservationTarget": {"CapacityReservationId": active_block["CapacityReservationId"]}
        },
    )["Instances"]
    assert by(active_block["CapacityReservationId"]) == [made["InstanceId"]]
    assert by("cr-0123456789abcdef0") == []


def test_a_block_becomes_visible_after_a_delay(ec2, control, offering):
    control("market", {"visible_after_seconds": 60})
    bought = ec2.purchase_capacity_block(
        CapacityBlockOfferingId=offering["CapacityBlockOfferingId"], InstancePlatform="Linux/UNIX"
    )["CapacityReservation"]
    ids = {"CapacityReservationIds": [bought["CapacityReservationId"]]}
    assert ec2.describe_capacity_reservations()["CapacityReservations"] == []
    assert refusal(ec2.describe_capacity_reservations, **ids) == "InvalidCapacityReservationId.NotFound"
    control("clock", {"advance_seconds": 61})
    assert look(ec2, bought["CapacityReservationId"])["State"] == "scheduled"


def test_a_failed_payment_releases_the_capacity(ec2, control, pay, offering):
    control("market", {"payment_outcome": "failed"})
    buy = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    for _ in range(4):
        bought = ec2.purchase_capacity_block(**buy)["CapacityReservation"]
    assert bought["State"] == "payment-pending"
    assert refusal(ec2.purchase_capacity_block, **buy) == "InvalidCapacityBlockOfferingIdExpired"
    pay()
    assert look(ec2, bought["CapacityReservationId"])["State"] == "payment-failed"
    ec2.purchase_capacity_block(**buy)


def test_a_payment_fails_after_12_hours(ec2, control, offering, move_clock):
    control("market", {"payment_seconds": 13 * 3600})
    buy = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    bought = ec2.purchase_capacity_block(**buy)["CapacityReservation"]
    move_clock(bought["CreateDate"] + timedelta(hours=12, seconds=2))
    assert look(ec2, bought["CapacityReservationId"])["State"] == "payment-failed"


def test_a_block_can_be_impaired(ec2, control, active_block):
    control("market", {"health": {active_block["CapacityReservationId"]: "impaired"}})
    (status,) = ec2.describe_capacity_block_status()["CapacityBlockStatuses"]
    assert (status["InterconnectStatus"], status["TotalUnavailableCapacity"]) == ("impaired", 1)


def test_a_filter_without_a_name_is_refused(ec2, block):
    with pytest.raises(ClientError) as refused:
        ec2.describe_capacity_reservations(Filters=[{"Values": ["active"]}])
    error = refused.value.response["Error"]
    assert (error["Code"], error["Message"]) == ("InvalidParameterValue", "The filter 'null' is invalid")


def tags_of(ec2, reservation_id):
    return look(ec2, reservation_id).get("Tags", [])


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ([{"Key": "aws:mine", "Value": "a"}], "InvalidParameterValue"),
        ([{"Key": f"a{number}", "Value": "a"} for number in range(51)], "TagLimitExceeded"),
    ],
)
def test_invalid_tags_are_refused(ec2, block, offering, tags, code):
    reservation_id = block["CapacityReservationId"]
    before = tags_of(ec2, reservation_id)
    assert refusal(ec2.create_tags, Resources=[reservation_id], Tags=tags) == code
    assert tags_of(ec2, reservation_id) == before
    specification = [{"ResourceType": "capacity-reservation", "Tags": tags}]
    request = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    assert refusal(ec2.purchase_capacity_block, **request, TagSpecifications=specification) == code


@pytest.mark.parametrize(
    ("parameters", "remaining"),
    [
        ({}, set()),
        ({"Tags": [{"Key": "full"}, {"Key": "empty"}]}, {"other"}),
        ({"Tags": [{"Key": "full", "Value": ""}, {"Key": "empty", "Value": ""}]}, {"full", "other"}),
        ({"Tags": [{"Key": "full", "Value": "a"}, {"Key": "other", "Value": "a"}]}, {"empty", "other"}),
        ({"Tags": [{"Key": "aws:mine"}]}, {"full", "empty", "other"}),
    ],
)
def test_tags_are_deleted_by_key_or_by_value_or_all(ohio, on_demand, parameters, remaining):
    reservation_id = on_demand["CapacityReservationId"]
    ohio.delete_tags(Resources=[reservation_id])
    tags = {"full": "a", "empty": "", "other": "b"}
    ohio.create_tags(Resources=[reservation_id], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    ohio.delete_tags(Resources=[reservation_id], **parameters)
    assert {tag["Key"] for tag in tags_of(ohio, reservation_id)} == remaining


def test_an_account_has_at_most_256_instances_across_blocks(ohio, control):
    control("market", {"ultraservers": True})
    longest = {"CapacityDurationHours": 182 * 24}

    def buy(**search):
        offering = ohio.describe_capacity_block_offerings(**longest, **search)["CapacityBlockOfferings"][0]
        request = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
        return lambda **more: ohio.purchase_capacity_block(**request, **more)

    for _ in range(3):
        buy(InstanceType="trn2.48xlarge", InstanceCount=64)()
    more = buy(UltraserverType="u-trn2x64", UltraserverCount=1)
    last = buy(InstanceType="trn1.32xlarge", InstanceCount=62)
    last()
    assert refusal(more) == refusal(more, DryRun=True) == "InstanceLimitExceeded"
    assert len(ohio.describe_capacity_reservations()["CapacityReservations"]) == 4
