from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from rehearsal.market.offerings import Query, find
from rehearsal.market.pools import POOLS
from tests.functional.support import refusal

pytestmark = pytest.mark.every_day
QUESTION = {"InstanceType": "trn2.3xlarge", "InstanceCount": 1, "CapacityDurationHours": 24}
TRN1 = {"InstanceType": "trn1.32xlarge", "CapacityDurationHours": 24}
TRN2_ULTRASERVERS = {"UltraserverType": "u-trn2x64", "CapacityDurationHours": 24}
PLATFORM = {"InstancePlatform": "Linux/UNIX"}


@pytest.fixture
def market(rehearsal_endpoint, control):
    """Sets the market: `market(starts_soon=True)`."""
    return lambda **changes: control("market", changes)


@pytest.fixture
def us_west_2(client):
    return client("ec2", "us-west-2")


@pytest.fixture
def us_east_2(client):
    return client("ec2", "us-east-2")


def search(ec2, **question):
    return ec2.describe_capacity_block_offerings(**question)["CapacityBlockOfferings"]


def test_a_start_in_the_past_is_refused(ec2, control):
    now = datetime.fromisoformat(control("status")["clock"])
    past = {**QUESTION, "StartDateRange": now - timedelta(minutes=1)}
    assert refusal(ec2.describe_capacity_block_offerings, **past) == "InvalidParameterValue"


def test_an_end_before_the_start_is_refused(ec2, offering):
    start = offering["StartDate"] + timedelta(days=3)
    question = {**QUESTION, "StartDateRange": start, "EndDateRange": start - timedelta(hours=1)}
    assert refusal(ec2.describe_capacity_block_offerings, **question) == "InvalidParameterValue"


def test_the_end_of_the_range_is_the_latest_end(ec2, offering):
    assert search(ec2, **QUESTION, EndDateRange=offering["EndDate"]) == [offering]
    assert search(ec2, **QUESTION, EndDateRange=offering["EndDate"] - timedelta(seconds=1)) == []


def test_an_offering_says_its_type_of_zone(offering):
    assert offering["ZoneType"] == "availability-zone"
    assert "CapacityBlockOfferingSegments" not in offering
    assert "UltraserverType" not in offering


def test_what_no_zone_can_serve_alone_comes_in_segments(us_west_2):
    alone, together = (search(us_west_2, **TRN1, InstanceCount=count) for count in (12, 20))
    assert {one["AvailabilityZone"] for one in alone} == {"us-west-2b", "us-west-2d"}
    assert together
    for one in together:
        segments = one["CapacityBlockOfferingSegments"]
        assert [(part["AvailabilityZone"], part["InstanceCount"]) for part in segments] == [
            ("us-west-2b", 12),
            ("us-west-2d", 8),
        ]
        assert [part["AvailabilityZoneId"] for part in segments] == ["usw2-az1", "usw2-az4"]
        assert one["InstanceCount"] == 20
        assert Decimal(one["UpfrontFee"]) == sum(Decimal(part["UpfrontFee"]) for part in segments)
        for part in segments:
            assert all(part[name] == one[name] for name in ("InstanceType", "StartDate", "EndDate"))
        assert "AvailabilityZone" not in one
    assert search(us_west_2, **TRN1, InstanceCount=25) == []


def test_preferences_find_segments_too(us_west_2):
    preferences = {"InstanceTypePreferences": [{"InstanceType": "trn1.32xlarge"}], "CapacityDurationHours": 24}
    assert search(us_west_2, **preferences, InstanceCount=20) == search(us_west_2, **TRN1, InstanceCount=20)


def test_a_purchase_of_segments_makes_a_reservation_of_each(us_west_2):
    first = search(us_west_2, **TRN1, InstanceCount=20)[0]
    buy = {"CapacityBlockOfferingId": first["CapacityBlockOfferingId"], **PLATFORM}
    bought = us_west_2.purchase_capacity_block(**buy)
    reservations = us_west_2.describe_capacity_reservations()["CapacityReservations"]
    assert bought["CapacityReservations"] == reservations
    assert [(one["AvailabilityZone"], one["TotalInstanceCount"]) for one in reservations] == [
        ("us-west-2b", 12),
        ("us-west-2d", 8),
    ]
    blocks = {block["CapacityBlockId"]: block for block in bought["CapacityBlocks"]}
    assert len(blocks) == 2
    for one in reservations:
        assert blocks[one["CapacityBlockId"]]["CapacityReservationIds"] == [one["CapacityReservationId"]]
    # Four are left, all in one zone.
    assert refusal(us_west_2.purchase_capacity_block, **buy) == "InvalidCapacityBlockOfferingIdExpired"
    on_the_day = {**TRN1, "EndDateRange": first["EndDate"]}
    (left,) = search(us_west_2, **on_the_day, InstanceCount=4)
    assert left["AvailabilityZone"] == "us-west-2d"
    assert search(us_west_2, **on_the_day, InstanceCount=5) == []


def test_capacity_that_was_sold_makes_segments_needed(us_west_2):
    first = search(us_west_2, **TRN1, InstanceCount=8)[0]
    for zone in ("us-west-2b", "us-west-2d"):
        found = search(us_west_2, **TRN1, InstanceCount=8, EndDateRange=first["EndDate"])
        (one,) = [each for each in found if each["AvailabilityZone"] == zone]
        us_west_2.purchase_capacity_block(CapacityBlockOfferingId=one["CapacityBlockOfferingId"], **PLATFORM)
    (rest,) = search(us_west_2, **TRN1, InstanceCount=8, EndDateRange=first["EndDate"])
    assert [part["InstanceCount"] for part in rest["CapacityBlockOfferingSegments"]] == [4, 4]


def test_ultraservers_are_for_accounts_that_may(us_east_2):
    assert refusal(us_east_2.describe_capacity_block_offerings, **TRN2_ULTRASERVERS) == "UnauthorizedOperation"


def test_an_offering_of_ultraservers(us_east_2, market):
    market(ultraservers=True)
    (one, *_), (two, *_) = (search(us_east_2, **TRN2_ULTRASERVERS, UltraserverCount=count) for count in (1, 2))
    assert (one["UltraserverType"], one["UltraserverCount"]) == ("u-trn2x64", 1)
    assert (one["InstanceType"], one["InstanceCount"], one["UpfrontFee"]) == ("trn2u.48xlarge", 4, "3433.04")
    assert (two["UltraserverCount"], two["InstanceCount"], two["UpfrontFee"]) == (2, 8, "6866.08")
    assert search(us_east_2, **TRN2_ULTRASERVERS) == search(us_east_2, **TRN2_ULTRASERVERS, UltraserverCount=1)
    assert search(us_east_2, **TRN2_ULTRASERVERS, UltraserverCount=5) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"InstanceType": "trn2.48xlarge"}, "InvalidParameterCombination"),
        ({"InstanceTypePreferences": [{"InstanceType": "trn2.48xlarge"}]}, "InvalidParameterCombination"),
        ({"UltraserverType": "u-trn9x64"}, "InvalidParameterValue"),
        ({"UltraserverType": "u-p6e-gb200x72"}, "InvalidParameterValue"),
        ({"UltraserverCount": 0}, "InvalidParameterValue"),
    ],
)
def test_ultraservers_that_are_refused(us_east_2, market, change, code):
    market(ultraservers=True)
    assert refusal(us_east_2.describe_capacity_block_offerings, **{**TRN2_ULTRASERVERS, **change}) == code


def test_instances_of_ultraservers_are_not_sold_alone(us_east_2, market):
    market(ultraservers=True)
    question = {"InstanceType": "trn2u.48xlarge", "InstanceCount": 4, "CapacityDurationHours": 24}
    assert refusal(us_east_2.describe_capacity_block_offerings, **question) == "InvalidParameterValue"


def test_a_local_zone_is_searched_on_request_only(client, market):
    market(ultraservers=True)
    us_east_1 = client("ec2", "us-east-1")
    question = {"UltraserverType": "u-p6e-gb200x72", "CapacityDurationHours": 24}
    assert search(us_east_1, **question) == []
    one = search(us_east_1, **question, AllAvailabilityZones=True)[0]
    assert (one["AvailabilityZone"], one["ZoneType"]) == ("us-east-1-dfw-2a", "local-zone")
    assert (one["InstanceType"], one["InstanceCount"]) == ("p6e-gb200.36xlarge", 18)
    assert one["UpfrontFee"] == "18285.70"
    bought = us_east_1.purchase_capacity_block(CapacityBlockOfferingId=one["CapacityBlockOfferingId"], **PLATFORM)
    assert bought["CapacityReservation"]["AvailabilityZoneId"] == "use1-dfw2-az1"


def test_a_purchase_of_ultraservers_makes_a_block_of_each(us_east_2, market, control, move_clock):
    market(ultraservers=True)
    two = search(us_east_2, **TRN2_ULTRASERVERS, UltraserverCount=2)[0]
    us_east_2.purchase_capacity_block(CapacityBlockOfferingId=two["CapacityBlockOfferingId"], **PLATFORM)
    ours = [{"Name": "ultraserver-type", "Values": ["u-trn2x64"]}]
    blocks = us_east_2.describe_capacity_blocks(Filters=ours)["CapacityBlocks"]
    assert len({block["CapacityBlockId"] for block in blocks}) == 2

    def available():
        found = us_east_2.describe_capacity_reservations()["CapacityReservations"]
        return [one["AvailableInstanceCount"] for one in found]

    move_clock(two["EndDate"] - timedelta(minutes=61))
    assert available() == [4, 4]
    move_clock(two["EndDate"] - timedelta(minutes=60))
    assert available() == [0, 0]


def test_blocks_that_start_soon_are_shorter_and_longer_than_asked(ec2, control, market, move_clock, offering):
    move_clock(offering["StartDate"].replace(hour=3, minute=0) + timedelta(days=3))
    now = datetime.fromisoformat(control("status")["clock"])
    usual = search(ec2, **QUESTION)
    market(starts_soon=True)
    shorter, longer, *others = search(ec2, **QUESTION)
    assert others == usual[:4]
    for one, length in ((shorter, (7, 35)), (longer, (31, 35))):
        assert timedelta(minutes=30) < one["StartDate"] - now < timedelta(hours=1.5)
        assert (f"{one['StartDate']:%H:%M}", f"{one['EndDate']:%H:%M}") == ("03:55", "11:30")
        assert (one["CapacityBlockDurationHours"], one["CapacityBlockDurationMinutes"]) == length
        hours = Decimal(length[0]) + Decimal(length[1]) / 60
        assert abs(Decimal(one["UpfrontFee"]) - Decimal("2.235") * hours) <= Decimal("0.01")
        ec2.purchase_capacity_block(CapacityBlockOfferingId=one["CapacityBlockOfferingId"], **PLATFORM)


@pytest.mark.parametrize("hour", range(0, 24, 5))
@pytest.mark.parametrize("days", [1, 2, 14, 182])
def test_blocks_that_start_soon_end_at_the_usual_hour(hour, days):
    query = Query("sa-east-1", ("trn2.3xlarge",), 1, days * 24)
    for minute in (0, 11, 40, 59):
        now = datetime(2026, 3, 1, hour, minute, tzinfo=timezone.utc)
        found = find(query, now=now, seed=0, taken=[], starts_soon=True)
        soon = [one for one in found if one.start.minute != 30]
        assert soon
        for one in soon:
            assert (one.end.hour, one.end.minute) == (11, 30)
            assert timedelta(minutes=30) < one.start - now < timedelta(hours=1.5)
            assert abs(one.duration - timedelta(days=days)) < timedelta(days=1)
            assert timedelta(hours=1) <= one.duration <= timedelta(days=182)


def test_no_pool_is_sold_twice_over():
    assert len({(pool.zone, pool.instance_type) for pool in POOLS}) == len(POOLS)


def test_regions_are_those_enabled_for_the_account(ec2):
    enabled = {one["RegionName"]: one["OptInStatus"] for one in ec2.describe_regions()["Regions"]}
    everything = {one["RegionName"]: one["OptInStatus"] for one in ec2.describe_regions(AllRegions=True)["Regions"]}
    assert not any(name.startswith(("cn-", "us-gov-")) for name in everything), "those are other accounts' partitions"
    assert enabled["sa-east-1"] == "opt-in-not-required"
    assert enabled["ap-southeast-4"] == "opted-in"
    assert "ap-south-2" not in enabled
    assert everything["ap-south-2"] == "not-opted-in"
    assert enabled == {name: status for name, status in everything.items() if status != "not-opted-in"}


def test_every_region_where_blocks_are_sold_is_enabled(ec2):
    enabled = {one["RegionName"] for one in ec2.describe_regions()["Regions"]}
    assert {pool.region for pool in POOLS} <= enabled


def test_regions_by_name_and_by_filter(ec2):
    (named,) = ec2.describe_regions(RegionNames=["ap-south-2"])["Regions"]
    assert (named["RegionName"], named["OptInStatus"]) == ("ap-south-2", "not-opted-in")
    optional = [{"Name": "opt-in-status", "Values": ["opted-in"]}]
    assert [one["RegionName"] for one in ec2.describe_regions(Filters=optional)["Regions"]] == ["ap-southeast-4"]
    assert refusal(ec2.describe_regions, DryRun=True) == "DryRunOperation"
