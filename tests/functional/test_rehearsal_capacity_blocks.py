from datetime import datetime, timedelta

import pytest

from tests.functional.support import refusal

pytestmark = pytest.mark.every_day
QUESTION = {"InstanceType": "trn2.3xlarge", "InstanceCount": 1, "CapacityDurationHours": 24}


def test_the_offering_that_was_seen_on_aws(offering):
    assert offering["AvailabilityZone"] == "sa-east-1b"
    assert (offering["UpfrontFee"], offering["CurrencyCode"]) == ("53.64", "USD")
    assert (offering["CapacityBlockDurationHours"], offering["Tenancy"]) == (24, "default")
    assert f"{offering['EndDate']:%H:%M %Z}" == "11:30 UTC"
    assert offering["EndDate"] - offering["StartDate"] == timedelta(hours=24)


def test_offerings_are_the_same_until_something_is_bought(ec2):
    once, again = (ec2.describe_capacity_block_offerings(**QUESTION)["CapacityBlockOfferings"] for _ in range(2))
    assert once == again
    assert 2 <= len(once) <= 6
    assert [one["StartDate"] for one in once] == sorted(one["StartDate"] for one in once)


def test_offerings_come_in_pages(ec2):
    whole = ec2.describe_capacity_block_offerings(**QUESTION)["CapacityBlockOfferings"]
    pages = ec2.get_paginator("describe_capacity_block_offerings").paginate(
        **QUESTION, PaginationConfig={"PageSize": 2}
    )
    assert [one for page in pages for one in page["CapacityBlockOfferings"]] == whole


def test_a_window_limits_offerings(ec2):
    first, second, *_ = ec2.describe_capacity_block_offerings(**QUESTION)["CapacityBlockOfferings"]
    later = ec2.describe_capacity_block_offerings(**QUESTION, StartDateRange=first["EndDate"])
    assert later["CapacityBlockOfferings"][0] == second
    none = ec2.describe_capacity_block_offerings(**QUESTION, EndDateRange=first["StartDate"])
    assert none["CapacityBlockOfferings"] == []


def test_the_last_start_is_within_eight_weeks(ec2, control):
    now = datetime.fromisoformat(control("status")["clock"])
    beyond = ec2.describe_capacity_block_offerings(**QUESTION, StartDateRange=now + timedelta(weeks=8, days=1))
    assert beyond["CapacityBlockOfferings"] == []


def test_trn2_48xlarge_has_the_price_that_was_seen(client):
    found = client("ec2", "us-east-2").describe_capacity_block_offerings(
        **{**QUESTION, "InstanceType": "trn2.48xlarge"}
    )
    assert {one["UpfrontFee"] for one in found["CapacityBlockOfferings"]} == {"858.26"}


@pytest.mark.parametrize("hours", [1, 23, 25, 15 * 24, 189 * 24, 0])
def test_a_duration_aws_does_not_sell_is_refused(ec2, hours):
    question = {**QUESTION, "CapacityDurationHours": hours}
    assert refusal(ec2.describe_capacity_block_offerings, **question) == "InvalidParameterValue"


@pytest.mark.parametrize("hours", [24, 14 * 24, 21 * 24, 182 * 24])
def test_durations_aws_sells_are_not(ec2, hours):
    ec2.describe_capacity_block_offerings(**{**QUESTION, "CapacityDurationHours": hours})


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
def test_a_question_aws_refuses(ec2, change, code):
    assert refusal(ec2.describe_capacity_block_offerings, **{**QUESTION, **change}) == code


def test_more_instances_than_there_are_find_nothing(ec2):
    found = ec2.describe_capacity_block_offerings(**{**QUESTION, "InstanceCount": 64})
    assert found["CapacityBlockOfferings"] == []


def test_a_block_is_pending_then_scheduled_then_active_then_expired(ec2, pay, block, move_clock):
    def look() -> tuple[str, int]:
        found = ec2.describe_capacity_reservations(CapacityReservationIds=[block["CapacityReservationId"]])
        (one,) = found["CapacityReservations"]
        return one["State"], one["AvailableInstanceCount"]

    assert (block["State"], block["AvailableInstanceCount"]) == ("payment-pending", 0)
    assert look() == ("payment-pending", 0)
    pay()
    assert look() == ("scheduled", 0)
    move_clock(block["StartDate"] - timedelta(seconds=30))
    assert look() == ("scheduled", 0)
    move_clock(block["StartDate"])
    assert look() == ("active", 1)
    move_clock(block["EndDate"] - timedelta(minutes=29))
    assert look() == ("active", 0)
    move_clock(block["EndDate"])
    assert look() == ("expired", 0)


def test_what_a_reservation_says(ec2, offering):
    tags = [{"ResourceType": "capacity-reservation", "Tags": [{"Key": "Intent", "Value": "one"}]}]
    bought = ec2.purchase_capacity_block(
        CapacityBlockOfferingId=offering["CapacityBlockOfferingId"],
        InstancePlatform="Linux/UNIX",
        TagSpecifications=tags,
    )
    one = bought["CapacityReservation"]
    assert one["ReservationType"] == "capacity-block"
    assert (one["InstanceMatchCriteria"], one["EndDateType"]) == ("targeted", "limited")
    assert one["AvailabilityZoneId"] == "sae1-az2"
    assert {tag["Key"]: tag["Value"] for tag in one["Tags"]} == {
        "Intent": "one",
        "aws:ec2capacityreservation:incrementalRequestedQuantity": "1",
    }
    (whole,) = ec2.describe_capacity_blocks()["CapacityBlocks"]
    assert whole["CapacityBlockId"] == one["CapacityBlockId"] == bought["CapacityBlocks"][0]["CapacityBlockId"]
    assert whole["CapacityReservationIds"] == [one["CapacityReservationId"]]
    (status,) = ec2.describe_capacity_block_status(CapacityBlockIds=[one["CapacityBlockId"]])["CapacityBlockStatuses"]
    assert (status["InterconnectStatus"], status["TotalCapacity"]) == ("ok", 1)


def test_a_dry_run_buys_nothing(ec2, offering):
    buy = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    assert refusal(ec2.purchase_capacity_block, **buy, DryRun=True) == "DryRunOperation"
    assert ec2.describe_capacity_reservations()["CapacityReservations"] == []


def test_a_repeated_purchase_buys_again_until_nothing_is_left(ec2, offering):
    buy = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    bought = {ec2.purchase_capacity_block(**buy)["CapacityReservation"]["CapacityReservationId"] for _ in range(4)}
    assert len(bought) == 4
    assert refusal(ec2.purchase_capacity_block, **buy) == "InvalidCapacityBlockOfferingIdExpired"
    assert offering not in ec2.describe_capacity_block_offerings(**QUESTION)["CapacityBlockOfferings"]


@pytest.mark.parametrize(
    ("offering_id", "code"),
    [
        ("nonsense", "InvalidCapacityBlockOfferingIdMalformed"),
        ("cb-0123456789abcdef0", "InvalidCapacityBlockOfferingIdNotFound"),
    ],
)
def test_an_offering_that_is_none(ec2, offering_id, code):
    buy = {"CapacityBlockOfferingId": offering_id, "InstancePlatform": "Linux/UNIX"}
    assert refusal(ec2.purchase_capacity_block, **buy) == code


def test_an_offering_is_gone_half_an_hour_before_its_start(ec2, offering, move_clock):
    move_clock(offering["StartDate"] - timedelta(minutes=29))
    buy = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    assert refusal(ec2.purchase_capacity_block, **buy) == "InvalidCapacityBlockOfferingIdExpired"


def test_an_offering_belongs_to_its_region(client, offering):
    buy = {"CapacityBlockOfferingId": offering["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    elsewhere = client("ec2", "us-east-2")
    assert refusal(elsewhere.purchase_capacity_block, **buy) == "InvalidCapacityBlockOfferingIdNotFound"


def test_a_block_is_never_cancelled(ec2, block):
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
def test_filters(ec2, pay, block, name, value, found):
    answer = ec2.describe_capacity_reservations(Filters=[{"Name": name, "Values": [value]}])
    assert bool(answer["CapacityReservations"]) is found


def test_a_filter_that_is_none(ec2, block):
    filters = [{"Name": "colour", "Values": ["blue"]}]
    assert refusal(ec2.describe_capacity_reservations, Filters=filters) == "InvalidParameterValue"


def test_an_unknown_reservation(ec2):
    ids = ["cr-0123456789abcdef0"]
    assert refusal(ec2.describe_capacity_reservations, CapacityReservationIds=ids) == (
        "InvalidCapacityReservationId.NotFound"
    )


def test_a_reservation_can_be_tagged(ec2, block):
    ids = [block["CapacityReservationId"]]
    ec2.create_tags(Resources=ids, Tags=[{"Key": "Project", "Value": "x"}])
    tagged = [{"Name": "tag:Project", "Values": ["x"]}]
    assert len(ec2.describe_capacity_reservations(Filters=tagged)["CapacityReservations"]) == 1
    ec2.delete_tags(Resources=ids, Tags=[{"Key": "Project"}])
    assert ec2.describe_capacity_reservations(Filters=tagged)["CapacityReservations"] == []
