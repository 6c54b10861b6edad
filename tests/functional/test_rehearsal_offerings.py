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
    """Set the market's behaviour: `market(starts_soon=True)`."""
    return lambda **changes: control("market", changes)


@pytest.fixture
def us_west_2(client):
    return client("ec2", "us-west-2")


@pytest.fixture
def us_east_2(client):
    return client("ec2", "us-east-2")


def search(ec2, **question):
    return ec2.describe_capacity_block_offerings(**question)["CapacityBlockOfferings"]


def test_start_in_the_past_is_refused(ec2, control):
    now = datetime.fromisoformat(control("status")["clock"])
    past = {**QUESTION, "StartDateRange": now - timedelta(minutes=1)}
    assert refusal(ec2.describe_capacity_block_offerings, **past) == "InvalidParameterValue"


def test_end_before_the_start_is_refused(ec2, offering):
    start = offering["StartDate"] + timedelta(days=3)
    question = {**QUESTION, "StartDateRange": start, "EndDateRange": start - timedelta(hours=1)}
    assert refusal(ec2.describe_capacity_block_offerings, **question) == "InvalidParameterValue"


def test_end_of_the_range_is_the_latest_end(ec2, offering):
    assert search(ec2, **QUESTION, EndDateRange=offering["EndDate"]) == [offering]
    assert search(ec2, **QUESTION, EndDateRange=offering["EndDate"] - timedelta(seconds=1)) == []


def test_offering_has_its_zone_type(offering):
    assert offering["ZoneType"] == "availability-zone"
    assert "CapacityBlockOfferingSegments" not in offering
    assert "UltraserverType" not in offering


def test_count_that_no_zone_has_is_offered_in_segments(us_west_2):
    alone, together = (search(us_west_2, **TRN1, InstanceCount=count) for count in (12, 20))
    assert {offering["AvailabilityZone"] for offering in alone} == {"us-west-2b", "us-west-2d"}
    assert together
    for offering in together:
        segments = offering["CapacityBlockOfferingSegments"]
        assert [(part["AvailabilityZone"], part["InstanceCount"]) for part in segments] == [
            ("us-west-2b", 12),
            ("us-west-2d", 8),
        ]
        assert [part["AvailabilityZoneId"] for part in segments] == ["usw2-az1", "usw2-az4"]
        assert offering["InstanceCount"] == 20
        assert Decimal(offering["UpfrontFee"]) == sum(Decimal(part["UpfrontFee"]) for part in segments)
        for part in segments:
            assert all(part[name] == offering[name] for name in ("InstanceType", "StartDate", "EndDate"))
        assert "AvailabilityZone" not in offering
    assert search(us_west_2, **TRN1, InstanceCount=25) == []


def test_instance_type_preferences_find_segments(us_west_2):
    preferences = {"InstanceTypePreferences": [{"InstanceType": "trn1.32xlarge"}], "CapacityDurationHours": 24}
    assert search(us_west_2, **preferences, InstanceCount=20) == search(us_west_2, **TRN1, InstanceCount=20)


def test_purchase_of_segments_creates_a_reservation_for_each(us_west_2):
    first = search(us_west_2, **TRN1, InstanceCount=20)[0]
    buy = {"CapacityBlockOfferingId": first["CapacityBlockOfferingId"], **PLATFORM}
    bought = us_west_2.purchase_capacity_block(**buy)
    reservations = us_west_2.describe_capacity_reservations()["CapacityReservations"]
    assert bought["CapacityReservations"] == reservations
    assert [(item["AvailabilityZone"], item["TotalInstanceCount"]) for item in reservations] == [
        ("us-west-2b", 12),
        ("us-west-2d", 8),
    ]
    blocks = {block["CapacityBlockId"]: block for block in bought["CapacityBlocks"]}
    assert len(blocks) == 2
    for reservation in reservations:
        block = blocks[reservation["CapacityBlockId"]]
        assert block["CapacityReservationIds"] == [reservation["CapacityReservationId"]]
    # Four remain, all in one zone.
    assert refusal(us_west_2.purchase_capacity_block, **buy) == "InvalidCapacityBlockOfferingIdExpired"
    that_day = {**TRN1, "EndDateRange": first["EndDate"]}
    (remaining,) = search(us_west_2, **that_day, InstanceCount=4)
    assert remaining["AvailabilityZone"] == "us-west-2d"
    assert search(us_west_2, **that_day, InstanceCount=5) == []


def test_sold_capacity_leaves_an_offering_of_segments(us_west_2):
    first = search(us_west_2, **TRN1, InstanceCount=8)[0]
    for zone in ("us-west-2b", "us-west-2d"):
        found = search(us_west_2, **TRN1, InstanceCount=8, EndDateRange=first["EndDate"])
        (offering,) = [offering for offering in found if offering["AvailabilityZone"] == zone]
        us_west_2.purchase_capacity_block(CapacityBlockOfferingId=offering["CapacityBlockOfferingId"], **PLATFORM)
    (rest,) = search(us_west_2, **TRN1, InstanceCount=8, EndDateRange=first["EndDate"])
    assert [part["InstanceCount"] for part in rest["CapacityBlockOfferingSegments"]] == [4, 4]


def test_ultraservers_are_refused_by_default(us_east_2):
    assert refusal(us_east_2.describe_capacity_block_offerings, **TRN2_ULTRASERVERS) == "UnauthorizedOperation"


def test_offering_of_ultraservers(us_east_2, market):
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
def test_invalid_search_for_ultraservers_is_refused(us_east_2, market, change, code):
    market(ultraservers=True)
    assert refusal(us_east_2.describe_capacity_block_offerings, **{**TRN2_ULTRASERVERS, **change}) == code


def test_instances_of_ultraservers_are_not_sold_separately(us_east_2, market):
    market(ultraservers=True)
    question = {"InstanceType": "trn2u.48xlarge", "InstanceCount": 4, "CapacityDurationHours": 24}
    assert refusal(us_east_2.describe_capacity_block_offerings, **question) == "InvalidParameterValue"


def test_local_zones_are_searched_on_request_only(client, market):
    market(ultraservers=True)
    us_east_1 = client("ec2", "us-east-1")
    question = {"UltraserverType": "u-p6e-gb200x72", "CapacityDurationHours": 24}
    assert search(us_east_1, **question) == []
    offering = search(us_east_1, **question, AllAvailabilityZones=True)[0]
    assert (offering["AvailabilityZone"], offering["ZoneType"]) == ("us-east-1-dfw-2a", "local-zone")
    assert (offering["InstanceType"], offering["InstanceCount"]) == ("p6e-gb200.36xlarge", 18)
    assert offering["UpfrontFee"] == "18285.70"
    bought = us_east_1.purchase_capacity_block(CapacityBlockOfferingId=offering["CapacityBlockOfferingId"], **PLATFORM)
    assert bought["CapacityReservation"]["AvailabilityZoneId"] == "use1-dfw2-az1"


def test_purchase_of_ultraservers_creates_a_block_for_each(us_east_2, market, control, move_clock):
    market(ultraservers=True)
    two = search(us_east_2, **TRN2_ULTRASERVERS, UltraserverCount=2)[0]
    us_east_2.purchase_capacity_block(CapacityBlockOfferingId=two["CapacityBlockOfferingId"], **PLATFORM)
    filters = [{"Name": "ultraserver-type", "Values": ["u-trn2x64"]}]
    blocks = us_east_2.describe_capacity_blocks(Filters=filters)["CapacityBlocks"]
    assert len({block["CapacityBlockId"] for block in blocks}) == 2

    def available():
        found = us_east_2.describe_capacity_reservations()["CapacityReservations"]
        return [reservation["AvailableInstanceCount"] for reservation in found]

    move_clock(two["EndDate"] - timedelta(minutes=61))
    assert available() == [4, 4]
    move_clock(two["EndDate"] - timedelta(minutes=60))
    assert available() == [0, 0]


def test_blocks_that_start_soon_are_shorter_or_longer_than_requested(ec2, control, market, move_clock, offering):
    move_clock(offering["StartDate"].replace(hour=3, minute=0) + timedelta(days=3))
    now = datetime.fromisoformat(control("status")["clock"])
    usual = search(ec2, **QUESTION)
    market(starts_soon=True)
    shorter, longer, *others = search(ec2, **QUESTION)
    assert others == usual[:4]
    for soon, length in ((shorter, (7, 35)), (longer, (31, 35))):
        assert timedelta(minutes=30) < soon["StartDate"] - now < timedelta(hours=1.5)
        assert (f"{soon['StartDate']:%H:%M}", f"{soon['EndDate']:%H:%M}") == ("03:55", "11:30")
        assert (soon["CapacityBlockDurationHours"], soon["CapacityBlockDurationMinutes"]) == length
        hours = Decimal(length[0]) + Decimal(length[1]) / 60
        assert abs(Decimal(soon["UpfrontFee"]) - Decimal("2.235") * hours) <= Decimal("0.01")
        ec2.purchase_capacity_block(CapacityBlockOfferingId=soon["CapacityBlockOfferingId"], **PLATFORM)


@pytest.mark.parametrize("hour", range(0, 24, 5))
@pytest.mark.parametrize("days", [1, 2, 14, 182])
def test_blocks_that_start_soon_end_at_11_30(hour, days):
    query = Query("sa-east-1", ("trn2.3xlarge",), 1, days * 24)
    for minute in (0, 11, 40, 59):
        now = datetime(2026, 3, 1, hour, minute, tzinfo=timezone.utc)
        found = find(query, now=now, seed=0, sold=[], starts_soon=True)
        soon = [offering for offering in found if offering.start.minute != 30]
        assert soon
        for offering in soon:
            assert (offering.end.hour, offering.end.minute) == (11, 30)
            assert timedelta(minutes=30) < offering.start - now < timedelta(hours=1.5)
            assert abs(offering.duration - timedelta(days=days)) < timedelta(days=1)
            assert timedelta(hours=1) <= offering.duration <= timedelta(days=182)


def test_pools_are_unique():
    assert len({(pool.zone, pool.instance_type) for pool in POOLS}) == len(POOLS)


def test_regions_are_the_enabled_ones(ec2):
    regions, all_regions = (ec2.describe_regions(AllRegions=value)["Regions"] for value in (False, True))
    enabled = {region["RegionName"]: region["OptInStatus"] for region in regions}
    everything = {region["RegionName"]: region["OptInStatus"] for region in all_regions}
    assert not any(name.startswith(("cn-", "us-gov-")) for name in everything), "other partitions need other accounts"
    assert enabled["sa-east-1"] == "opt-in-not-required"
    assert enabled["ap-southeast-4"] == "opted-in"
    assert "ap-south-2" not in enabled
    assert everything["ap-south-2"] == "not-opted-in"
    assert enabled == {name: status for name, status in everything.items() if status != "not-opted-in"}


def test_every_region_where_blocks_are_sold_is_enabled(ec2):
    enabled = {region["RegionName"] for region in ec2.describe_regions()["Regions"]}
    assert {pool.region for pool in POOLS} <= enabled


def test_regions_by_name_and_by_filter(ec2):
    (named,) = ec2.describe_regions(RegionNames=["ap-south-2"])["Regions"]
    assert (named["RegionName"], named["OptInStatus"]) == ("ap-south-2", "not-opted-in")
    optional = [{"Name": "opt-in-status", "Values": ["opted-in"]}]
    assert [region["RegionName"] for region in ec2.describe_regions(Filters=optional)["Regions"]] == ["ap-southeast-4"]
    assert refusal(ec2.describe_regions, DryRun=True) == "DryRunOperation"
