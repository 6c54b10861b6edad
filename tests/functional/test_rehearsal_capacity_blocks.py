from datetime import datetime, timedelta

import pytest

from tests.functional.support import refusal

pytestmark = pytest.mark.every_day
SEARCH = {"InstanceType": "trn2.3xlarge", "InstanceCount": 1, "CapacityDurationHours": 24}


def test_offering_equals_one_observed_on_aws(offering):
    assert offering["AvailabilityZone"] == "sa-east-1b"
    assert (offering["UpfrontFee"], offering["CurrencyCode"]) == ("53.64", "USD")
    assert (offering["CapacityBlockDurationHours"], offering["Tenancy"]) == (24, "default")
    assert f"{offering['EndDate']:%H:%M %Z}" == "11:30 UTC"
    assert offering["EndDate"] - offering["StartDate"] == timedelta(hours=24)


def test_offerings_do_not_change_between_searches(ec2):
    once, again = (ec2.describe_capacity_block_offerings(**SEARCH)["CapacityBlockOfferings"] for _ in range(2))
    assert once == again
    assert 2 <= len(once) <= 6
    assert [offering["StartDate"] for offering in once] == sorted(offering["StartDate"] for offering in once)


def test_offerings_are_paginated(ec2):
    offerings = ec2.describe_capacity_block_offerings(**SEARCH)["CapacityBlockOfferings"]
    pages = ec2.get_paginator("describe_capacity_block_offerings").paginate(**SEARCH, PaginationConfig={"PageSize": 2})
    assert [offering for page in pages for offering in page["CapacityBlockOfferings"]] == offerings


def test_date_range_filters_offerings(ec2):
    first, second, *_ = ec2.describe_capacity_block_offerings(**SEARCH)["CapacityBlockOfferings"]
    later = ec2.describe_capacity_block_offerings(**SEARCH, StartDateRange=first["EndDate"])
    assert later["CapacityBlockOfferings"][0] == second
    none = ec2.describe_capacity_block_offerings(**SEARCH, EndDateRange=first["StartDate"])
    assert none["CapacityBlockOfferings"] == []


def test_no_offering_starts_more_than_eight_weeks_ahead(ec2, control):
    now = datetime.fromisoformat(control("status")["clock"])
    beyond = ec2.describe_capacity_block_offerings(**SEARCH, StartDateRange=now + timedelta(weeks=8, days=1))
    assert beyond["CapacityBlockOfferings"] == []


def test_trn2_48xlarge_has_the_observed_price(client):
    found = client("ec2", "us-east-2").describe_capacity_block_offerings(**{**SEARCH, "InstanceType": "trn2.48xlarge"})
    assert {offering["UpfrontFee"] for offering in found["CapacityBlockOfferings"]} == {"858.26"}


@pytest.mark.parametrize("hours", [1, 23, 25, 15 * 24, 189 * 24, 0])
def test_unsupported_duration_is_refused(ec2, hours):
    search = {**SEARCH, "CapacityDurationHours": hours}
    assert refusal(ec2.describe_capacity_block_offerings, **search) == "InvalidParameterValue"


@pytest.mark.parametrize("hours", [24, 14 * 24, 21 * 24, 182 * 24])
def test_supported_duration_is_accepted(ec2, hours):
    ec2.describe_capacity_block_offerings(**{**SEARCH, "CapacityDurationHours": hours})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"InstanceCount": 65}, "InvalidParameterValue"),
        ({"InstanceType": "inf2.xlarge"}, "InvalidParameterValue"),
        ({"InstanceType": "trn2.48xlarge"}, "InvalidParameterValue"),
        ({"InstanceTypePreferences": [{"InstanceType": "trn2.3xlarge"}]}, "InvalidParameterCombination"),
        ({"UltraserverType": "u-trn2x64"}, "UnauthorizedOperation"),
        ({"DryRun": True}, "DryRunOperation"),
        ({"NextToken": "made up"}, "InvalidNextToken"),
    ],
)
def test_invalid_search_is_refused(ec2, change, code):
    assert refusal(ec2.describe_capacity_block_offerings, **{**SEARCH, **change}) == code


def test_search_for_more_instances_than_available_finds_nothing(ec2):
    found = ec2.describe_capacity_block_offerings(**{**SEARCH, "InstanceCount": 64})
    assert found["CapacityBlockOfferings"] == []


def test_block_is_pending_then_scheduled_then_active_then_expired(ec2, pay, block, move_clock):
    def state() -> tuple[str, int]:
        found = ec2.describe_capacity_reservations(CapacityReservationIds=[block["CapacityReservationId"]])
        (reservation,) = found["CapacityReservations"]
        return reservation["State"], reservation["AvailableInstanceCount"]

    assert (block["State"], block["AvailableInstanceCount"]) == ("payment-pending", 0)
    assert state() == ("payment-pending", 0)
    pay()
    assert state() == ("scheduled", 0)
    move_clock(block["StartDate"] - timedelta(seconds=30))
    assert state() == ("scheduled", 0)
    move_clock(block["StartDate"])
    assert state() == ("active", 1)
    move_clock(block["EndDate"] - timedelta(minutes=29))
    assert state() == ("active", 0)
    move_clock(block["EndDate"])
    assert state() == ("expired", 0)


def test_fields_of_a_reservation(ec2, offering):
    tags = [{"ResourceType": "capacity-reservation", "Tags": [{"Key": "Intent", "Value": "one"}]}]
    bought = ec2.purchase_capacity_block(
        CapacityBlockOfferingId=offering["CapacityBlockOfferingId"],
        InstancePlatform="Linux/UNIX",
        TagSpecifications=tags,
    )
    reservation = bought["CapacityReservation"]
    assert reservation["ReservationType"] == "capacity-block"
    assert (reservation["InstanceMatchCriteria"], reservation["EndDateType"]) == ("targeted", "limited")
    assert reservation["AvailabilityZoneId"] == "sae1-az2"
    assert {tag["Key"]: tag["Value"] for tag in reservation["Tags"]} == {
        "Intent": "one",
        "aws:ec2capacityreservation:incrementalRequestedQuantity": "1",
    }
    (capacity_block,) = ec2.describe_capacity_blocks()["CapacityBlocks"]
    assert (
        capacity_block["CapacityBlockId"]
        == reservation["CapacityBlockId"]
        == bought["CapacityBlocks"][0]["CapacityBlockId"]
    )
    assert capacity_block["CapacityReservationIds"] == [reservation["CapacityReservationId"]]
    (status,) = ec2.describe_capacity_block_status(CapacityBlockIds=[reservation["CapacityBlockId"]])[
        "CapacityBlockStatuses"
    ]
    assert (status["InterconnectStatus"], status["TotalCapacity"]) == ("ok", 1)


def test_dry_run_buys_nothing(ec2, offering):
    purchase = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    assert refusal(ec2.purchase_capacity_block, **purchase, DryRun=True) == "DryRunOperation"
    assert ec2.describe_capacity_reservations()["CapacityReservations"] == []


def test_repeated_purchase_buys_again_while_there_is_capacity(ec2, offering):
    purchase = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    bought = {ec2.purchase_capacity_block(**purchase)["CapacityReservation"]["CapacityReservationId"] for _ in range(4)}
    assert len(bought) == 4
    assert refusal(ec2.purchase_capacity_block, **purchase) == "InvalidCapacityBlockOfferingIdExpired"
    assert offering not in ec2.describe_capacity_block_offerings(**SEARCH)["CapacityBlockOfferings"]


@pytest.mark.parametrize(
    ("offering_id", "code"),
    [
        ("nonsense", "InvalidCapacityBlockOfferingIdMalformed"),
        ("cb-0123456789abcdef0", "InvalidCapacityBlockOfferingIdNotFound"),
    ],
)
def test_purchase_of_an_unknown_offering_is_refused(ec2, offering_id, code):
    purchase = {"CapacityBlockOfferingId": offering_id, "InstancePlatform": "Linux/UNIX"}
    assert refusal(ec2.purchase_capacity_block, **purchase) == code


def test_offering_expires_30_minutes_before_its_start(ec2, offering, move_clock):
    move_clock(offering["StartDate"] - timedelta(minutes=29))
    purchase = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    assert refusal(ec2.purchase_capacity_block, **purchase) == "InvalidCapacityBlockOfferingIdExpired"


def test_offering_cannot_be_purchased_in_another_region(client, offering):
    purchase = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    elsewhere = client("ec2", "us-east-2")
    assert refusal(elsewhere.purchase_capacity_block, **purchase) == "InvalidCapacityBlockOfferingIdNotFound"


def test_block_cannot_be_cancelled(ec2, block):
    cancel = {"CapacityReservationId": block["CapacityReservationId"]}
    assert refusal(ec2.cancel_capacity_reservation, **cancel) == "OperationNotPermitted"
    assert refusal(ec2.cancel_capacity_reservation, **cancel, DryRun=True) == "DryRunOperation"
    unknown = {"CapacityReservationId": "cr-0123456789abcdef0"}
    assert refusal(ec2.cancel_capacity_reservation, **unknown) == "InvalidCapacityReservationId.NotFound"


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("state", "payment-pending", True),
        ("state", "active", False),
        ("instance-type", "trn2.*", True),
        ("availability-zone", "sa-east-1a", False),
        ("tag-key", "aws:ec2capacityreservation:*", True),
        ("tag:Nobody", "has", False),
    ],
)
def test_reservations_can_be_filtered(ec2, pay, block, name, value, found):
    response = ec2.describe_capacity_reservations(Filters=[{"Name": name, "Values": [value]}])
    assert bool(response["CapacityReservations"]) is found


def test_unknown_filter_is_refused(ec2, block):
    filters = [{"Name": "colour", "Values": ["blue"]}]
    assert refusal(ec2.describe_capacity_reservations, Filters=filters) == "InvalidParameterValue"


def test_unknown_reservation_is_refused(ec2):
    ids = ["cr-0123456789abcdef0"]
    assert refusal(ec2.describe_capacity_reservations, CapacityReservationIds=ids) == (
        "InvalidCapacityReservationId.NotFound"
    )


def test_reservation_can_be_tagged(ec2, block):
    ids = [block["CapacityReservationId"]]
    ec2.create_tags(Resources=ids, Tags=[{"Key": "Project", "Value": "x"}])
    tagged = [{"Name": "tag:Project", "Values": ["x"]}]
    assert len(ec2.describe_capacity_reservations(Filters=tagged)["CapacityReservations"]) == 1
    ec2.delete_tags(Resources=ids, Tags=[{"Key": "Project"}])
    assert ec2.describe_capacity_reservations(Filters=tagged)["CapacityReservations"] == []
