"""Extensions of a Capacity Block, as the rehearsal's EC2 sells them."""

from datetime import timedelta

import pytest

from tests.functional.support import refusal

pytestmark = pytest.mark.every_day
DAY = timedelta(days=1)


@pytest.fixture
def paid_block(pay, block):
    """The block, scheduled."""
    pay()
    return block


@pytest.fixture
def offers(ec2, paid_block):
    """The extensions on sale for the block: `offers(24)`."""

    def ask(hours=24):
        return ec2.describe_capacity_block_extension_offerings(
            CapacityReservationId=paid_block["CapacityReservationId"], CapacityBlockExtensionDurationHours=hours
        )["CapacityBlockExtensionOfferings"]

    return ask


@pytest.fixture
def extend(ec2, paid_block, offers):
    """Buys an extension."""

    def buy(hours=24, **more):
        (offer,) = offers(hours)
        bought = ec2.purchase_capacity_block_extension(
            CapacityReservationId=paid_block["CapacityReservationId"],
            CapacityBlockExtensionOfferingId=offer["CapacityBlockExtensionOfferingId"],
            **more,
        )
        (extension,) = bought["CapacityBlockExtensions"]
        return extension

    return buy


@pytest.fixture
def look(ec2, paid_block):
    """The reservation as it is now."""

    def look():
        ids = [paid_block["CapacityReservationId"]]
        (one,) = ec2.describe_capacity_reservations(CapacityReservationIds=ids)["CapacityReservations"]
        return one

    return look


@pytest.fixture
def statuses(ec2):
    return lambda: [
        one["CapacityBlockExtensionStatus"]
        for one in ec2.describe_capacity_block_extension_history()["CapacityBlockExtensions"]
    ]


def test_an_offer_begins_where_the_block_ends_at_the_blocks_own_price(offers, paid_block):
    (offer,) = offers(48)
    assert offer["StartDate"] == paid_block["StartDate"]
    assert offer["CapacityBlockExtensionStartDate"] == paid_block["EndDate"]
    assert offer["CapacityBlockExtensionEndDate"] == paid_block["EndDate"] + 2 * DAY
    assert (offer["CapacityBlockExtensionDurationHours"], offer["UpfrontFee"]) == (48, "107.28")
    assert offers(48) == [offer]


def test_the_end_moves_once_it_is_paid(extend, look, statuses, pay, paid_block):
    bought = extend()
    assert (bought["CapacityBlockExtensionStatus"], bought["UpfrontFee"]) == ("payment-pending", "53.64")
    assert look()["EndDate"] == paid_block["EndDate"]
    pay()
    assert statuses() == ["payment-succeeded"]
    assert look()["EndDate"] == paid_block["EndDate"] + DAY
    assert look()["CapacityReservationId"] == paid_block["CapacityReservationId"]


def test_what_runs_on_it_runs_on(extend, look, move_clock, paid_block):
    extend()
    move_clock(paid_block["EndDate"] + timedelta(minutes=1))
    assert (look()["State"], look()["AvailableInstanceCount"]) == ("active", 1)
    move_clock(paid_block["EndDate"] + DAY)
    assert look()["State"] == "expired"


def test_one_at_a_time_then_another_after_it(extend, offers, ec2, pay, paid_block):
    extend()
    question = {"CapacityReservationId": paid_block["CapacityReservationId"], "CapacityBlockExtensionDurationHours": 24}
    assert refusal(ec2.describe_capacity_block_extension_offerings, **question) == "InvalidCapacityReservationState"
    pay()
    (offer,) = offers()
    assert offer["CapacityBlockExtensionStartDate"] == paid_block["EndDate"] + DAY


def test_a_payment_that_fails_leaves_the_end(extend, look, statuses, control, pay, paid_block):
    control("market", {"payment_outcome": "failed"})
    extend()
    pay()
    assert statuses() == ["payment-failed"]
    assert look()["EndDate"] == paid_block["EndDate"]
    assert look()["State"] == "scheduled"


def test_a_payment_must_be_through_35_minutes_before_the_end(extend, statuses, control, move_clock, paid_block):
    control("market", {"payment_seconds": 3600})
    move_clock(paid_block["EndDate"] - timedelta(minutes=61))
    extend()
    move_clock(paid_block["EndDate"] - timedelta(minutes=36))
    assert statuses() == ["payment-pending"]
    move_clock(paid_block["EndDate"] - timedelta(minutes=35))
    assert statuses() == ["payment-failed"]


@pytest.mark.parametrize("hours", [0, 23, 15 * 24])
def test_a_duration_aws_does_not_sell_is_refused(ec2, paid_block, hours):
    question = {
        "CapacityReservationId": paid_block["CapacityReservationId"],
        "CapacityBlockExtensionDurationHours": hours,
    }
    assert refusal(ec2.describe_capacity_block_extension_offerings, **question) == "InvalidParameterValue"


def test_the_last_hour_is_too_late(ec2, offers, move_clock, paid_block):
    move_clock(paid_block["EndDate"] - timedelta(minutes=61))
    (offer,) = offers()
    move_clock(paid_block["EndDate"] - timedelta(minutes=59))
    late = {
        "CapacityReservationId": paid_block["CapacityReservationId"],
        "CapacityBlockExtensionOfferingId": offer["CapacityBlockExtensionOfferingId"],
    }
    assert refusal(ec2.purchase_capacity_block_extension, **late) == "InvalidCapacityReservationState"


def test_what_was_never_offered_is_not_sold(ec2, paid_block):
    made_up = {
        "CapacityReservationId": paid_block["CapacityReservationId"],
        "CapacityBlockExtensionOfferingId": "cbe-00000000000000000",
    }
    assert (
        refusal(ec2.purchase_capacity_block_extension, **made_up) == "InvalidCapacityBlockExtensionOfferingIdNotFound"
    )


def test_a_dry_run_buys_nothing(ec2, offers, statuses, paid_block):
    (offer,) = offers()
    dry = {
        "CapacityReservationId": paid_block["CapacityReservationId"],
        "CapacityBlockExtensionOfferingId": offer["CapacityBlockExtensionOfferingId"],
        "DryRun": True,
    }
    assert refusal(ec2.purchase_capacity_block_extension, **dry) == "DryRunOperation"
    assert statuses() == []


def test_capacity_that_is_sold_after_the_end_is_not_on_offer(ec2, offers, paid_block, move_clock):
    assert offers()
    move_clock(paid_block["StartDate"] + timedelta(hours=1))
    # The soonest day is always on sale: now the one that begins when the block ends.
    next_day = ec2.describe_capacity_block_offerings(
        InstanceType="trn2.3xlarge", InstanceCount=4, CapacityDurationHours=24
    )["CapacityBlockOfferings"]
    (after,) = [
        offering
        for offering in next_day
        if (offering["StartDate"], offering["AvailabilityZone"])
        == (paid_block["EndDate"], paid_block["AvailabilityZone"])
    ]
    ec2.purchase_capacity_block(CapacityBlockOfferingId=after["CapacityBlockOfferingId"], InstancePlatform="Linux/UNIX")
    assert offers() == []


def test_the_history_can_be_filtered(ec2, extend, paid_block):
    extend()
    succeeded = [{"Name": "capacity-block-extension-status", "Values": ["payment-succeeded"]}]
    assert ec2.describe_capacity_block_extension_history(Filters=succeeded)["CapacityBlockExtensions"] == []
    ids = [paid_block["CapacityReservationId"]]
    assert (
        len(ec2.describe_capacity_block_extension_history(CapacityReservationIds=ids)["CapacityBlockExtensions"]) == 1
    )
