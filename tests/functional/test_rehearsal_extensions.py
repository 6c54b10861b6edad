"""Extensions of Capacity Blocks in the rehearsal's EC2."""

from datetime import timedelta

import pytest

from tests.functional.support import refusal

pytestmark = pytest.mark.every_day
DAY = timedelta(days=1)


@pytest.fixture
def paid_block(pay, block):
    """A scheduled block."""
    pay()
    return block


@pytest.fixture
def offerings(ec2, paid_block):
    """Return the extensions on sale for the block: `offerings(24)`."""

    def search(hours=24):
        return ec2.describe_capacity_block_extension_offerings(
            CapacityReservationId=paid_block["CapacityReservationId"], CapacityBlockExtensionDurationHours=hours
        )["CapacityBlockExtensionOfferings"]

    return search


@pytest.fixture
def extend(ec2, paid_block, offerings):
    """Purchase an extension."""

    def purchase(hours=24, **more):
        (offering,) = offerings(hours)
        response = ec2.purchase_capacity_block_extension(
            CapacityReservationId=paid_block["CapacityReservationId"],
            CapacityBlockExtensionOfferingId=offering["CapacityBlockExtensionOfferingId"],
            **more,
        )
        (extension,) = response["CapacityBlockExtensions"]
        return extension

    return purchase


@pytest.fixture
def reservation(ec2, paid_block):
    """Return the current state of the reservation."""

    def describe():
        ids = [paid_block["CapacityReservationId"]]
        (found,) = ec2.describe_capacity_reservations(CapacityReservationIds=ids)["CapacityReservations"]
        return found

    return describe


@pytest.fixture
def statuses(ec2):
    return lambda: [
        extension["CapacityBlockExtensionStatus"]
        for extension in ec2.describe_capacity_block_extension_history()["CapacityBlockExtensions"]
    ]


def test_extension_starts_at_the_end_of_the_block_for_the_same_hourly_price(offerings, paid_block):
    (offering,) = offerings(48)
    assert offering["StartDate"] == paid_block["StartDate"]
    assert offering["CapacityBlockExtensionStartDate"] == paid_block["EndDate"]
    assert offering["CapacityBlockExtensionEndDate"] == paid_block["EndDate"] + 2 * DAY
    assert (offering["CapacityBlockExtensionDurationHours"], offering["UpfrontFee"]) == (48, "107.28")
    assert offerings(48) == [offering]


def test_end_date_moves_when_the_extension_is_paid(extend, reservation, statuses, pay, paid_block):
    extension = extend()
    assert (extension["CapacityBlockExtensionStatus"], extension["UpfrontFee"]) == ("payment-pending", "53.64")
    assert reservation()["EndDate"] == paid_block["EndDate"]
    pay()
    assert statuses() == ["payment-succeeded"]
    assert reservation()["EndDate"] == paid_block["EndDate"] + DAY
    assert reservation()["CapacityReservationId"] == paid_block["CapacityReservationId"]


def test_extended_block_stays_active_until_the_new_end(extend, reservation, move_clock, paid_block):
    extend()
    move_clock(paid_block["EndDate"] + timedelta(minutes=1))
    assert (reservation()["State"], reservation()["AvailableInstanceCount"]) == ("active", 1)
    move_clock(paid_block["EndDate"] + DAY)
    assert reservation()["State"] == "expired"


def test_second_extension_is_possible_once_the_first_is_paid(extend, offerings, ec2, pay, paid_block):
    extend()
    search = {"CapacityReservationId": paid_block["CapacityReservationId"], "CapacityBlockExtensionDurationHours": 24}
    assert refusal(ec2.describe_capacity_block_extension_offerings, **search) == "InvalidCapacityReservationState"
    pay()
    (offering,) = offerings()
    assert offering["CapacityBlockExtensionStartDate"] == paid_block["EndDate"] + DAY


def test_failed_payment_does_not_move_the_end(extend, reservation, statuses, control, pay, paid_block):
    control("market", {"payment_outcome": "failed"})
    extend()
    pay()
    assert statuses() == ["payment-failed"]
    assert reservation()["EndDate"] == paid_block["EndDate"]
    assert reservation()["State"] == "scheduled"


def test_payment_fails_35_minutes_before_the_end(extend, statuses, control, move_clock, paid_block):
    control("market", {"payment_seconds": 3600})
    move_clock(paid_block["EndDate"] - timedelta(minutes=61))
    extend()
    move_clock(paid_block["EndDate"] - timedelta(minutes=36))
    assert statuses() == ["payment-pending"]
    move_clock(paid_block["EndDate"] - timedelta(minutes=35))
    assert statuses() == ["payment-failed"]


@pytest.mark.parametrize("hours", [0, 23, 15 * 24])
def test_unsupported_duration_is_refused(ec2, paid_block, hours):
    search = {
        "CapacityReservationId": paid_block["CapacityReservationId"],
        "CapacityBlockExtensionDurationHours": hours,
    }
    assert refusal(ec2.describe_capacity_block_extension_offerings, **search) == "InvalidParameterValue"


def test_extension_is_refused_in_the_last_hour(ec2, offerings, move_clock, paid_block):
    move_clock(paid_block["EndDate"] - timedelta(minutes=61))
    (offering,) = offerings()
    move_clock(paid_block["EndDate"] - timedelta(minutes=59))
    late = {
        "CapacityReservationId": paid_block["CapacityReservationId"],
        "CapacityBlockExtensionOfferingId": offering["CapacityBlockExtensionOfferingId"],
    }
    assert refusal(ec2.purchase_capacity_block_extension, **late) == "InvalidCapacityReservationState"


def test_unknown_offering_is_refused(ec2, paid_block):
    unknown = {
        "CapacityReservationId": paid_block["CapacityReservationId"],
        "CapacityBlockExtensionOfferingId": "cbe-00000000000000000",
    }
    assert (
        refusal(ec2.purchase_capacity_block_extension, **unknown) == "InvalidCapacityBlockExtensionOfferingIdNotFound"
    )


def test_dry_run_buys_nothing(ec2, offerings, statuses, paid_block):
    (offering,) = offerings()
    dry = {
        "CapacityReservationId": paid_block["CapacityReservationId"],
        "CapacityBlockExtensionOfferingId": offering["CapacityBlockExtensionOfferingId"],
        "DryRun": True,
    }
    assert refusal(ec2.purchase_capacity_block_extension, **dry) == "DryRunOperation"
    assert statuses() == []


def test_no_extension_is_offered_when_the_capacity_is_sold(ec2, offerings, paid_block, move_clock):
    assert offerings()
    move_clock(paid_block["StartDate"] + timedelta(hours=1))
    # The first day is always on sale: here the one that starts when the block ends.
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
    assert offerings() == []


def test_extension_history_can_be_filtered(ec2, extend, paid_block):
    extend()
    succeeded = [{"Name": "capacity-block-extension-status", "Values": ["payment-succeeded"]}]
    assert ec2.describe_capacity_block_extension_history(Filters=succeeded)["CapacityBlockExtensions"] == []
    ids = [paid_block["CapacityReservationId"]]
    assert (
        len(ec2.describe_capacity_block_extension_history(CapacityReservationIds=ids)["CapacityBlockExtensions"]) == 1
    )
