from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from tests.unit.capacity_fakes import NOW, REGION, START, ZONE, FakeEc2, offering, refusal
from torchneuron.capacity_blocks import offerings
from torchneuron.capacity_blocks.rules import SearchRequest
from torchneuron.core.errors import AwsError, InputError, NotFoundError

REQUEST = SearchRequest("trn2.3xlarge", 24, 1, REGION)


def test_search_reads_every_page_and_sorts_by_price_then_start():
    ec2 = FakeEc2(
        [
            offering("cb-dear", fee="60"),
            offering("cb-late", start=START + timedelta(days=1)),
            offering("cb-soon"),
        ]
    )
    found = offerings.search(ec2, REQUEST)
    assert [offering.id for offering in found] == ["cb-soon", "cb-late", "cb-dear"]
    assert ec2.calls == [
        (
            "DescribeCapacityBlockOfferings",
            {"InstanceType": "trn2.3xlarge", "InstanceCount": 1, "CapacityDurationHours": 24},
        )
    ]


def test_offering_has_an_exact_fee_and_usable_hours():
    (block,) = offerings.search(FakeEc2([offering()]), REQUEST)
    assert block.fee == Decimal("53.64")
    assert block.usable == timedelta(hours=23, minutes=30)
    assert block.price_per_instance_hour == Decimal("2.235")
    assert block.reclaimed == START + timedelta(hours=23, minutes=30)
    assert block.start.utcoffset() == timedelta(0)


def test_values_that_only_the_single_segment_has_are_read_from_it():
    raw = offering(AvailabilityZone="", CapacityBlockOfferingSegments=[{"AvailabilityZone": ZONE}])
    del raw["StartDate"]
    raw["CapacityBlockOfferingSegments"][0]["StartDate"] = START
    (block,) = offerings.search(FakeEc2([raw]), REQUEST)
    assert (block.zone, block.start, block.unsupported_reason) == (ZONE, START, "")


def test_block_without_usable_time_is_sorted_last():
    short = offering("cb-short", EndDate=START + timedelta(minutes=30), CapacityBlockDurationHours=0)
    short["CapacityBlockDurationMinutes"] = 30
    found = offerings.search(FakeEc2([short, offering("cb-long")]), REQUEST)
    assert [offering.id for offering in found] == ["cb-long", "cb-short"]
    assert found[1].usable == timedelta(0)


def test_all_zones_are_requested_only_if_asked_for():
    ec2 = FakeEc2([offering()])
    offerings.search(ec2, replace(REQUEST, all_zones=True))
    offerings.search(ec2, REQUEST)
    assert [request.get("AllAvailabilityZones") for _, request in ec2.calls] == [True, None]


def test_dates_are_sent_to_ec2_and_filtered_to_the_minute():
    after, before = START - timedelta(days=1), START + timedelta(days=1)
    ec2 = FakeEc2([offering(f"cb-{hours}", start=START + timedelta(hours=hours)) for hours in (-25, -24, 0, 24, 25)])
    found = offerings.search(ec2, replace(REQUEST, start_after=after, start_before=before), now=lambda: NOW)
    assert [offering.id for offering in found] == ["cb--24", "cb-0", "cb-24"]
    asked = ec2.calls[0][1]
    assert asked["StartDateRange"] == after
    # Blocks end at one time of day: one that starts late on the last day ends a day later.
    assert asked["EndDateRange"] == before + timedelta(hours=48)


@pytest.mark.parametrize("after", [NOW - timedelta(days=400), NOW, NOW + timedelta(minutes=30)])
def test_past_date_is_not_sent_because_ec2_rejects_it(after):
    ec2 = FakeEc2([offering()])
    assert len(offerings.search(ec2, replace(REQUEST, start_after=after), now=lambda: NOW)) == 1
    assert "StartDateRange" not in ec2.calls[0][1]


def test_latest_possible_date_does_not_overflow():
    request = replace(REQUEST, start_before=datetime.max.replace(tzinfo=timezone.utc))
    assert len(offerings.search(FakeEc2([offering()]), request, now=lambda: NOW)) == 1


@pytest.mark.parametrize("bad", [replace(REQUEST, duration_hours=25), replace(REQUEST, count=65)])
def test_duration_or_count_that_aws_never_sells_is_refused_before_any_call(bad):
    ec2 = FakeEc2()
    with pytest.raises(InputError):
        offerings.search(ec2, bad)
    assert ec2.calls == []


def test_rate_limit_error_names_the_quota():
    ec2 = FakeEc2()
    ec2.search_error = refusal("CapacityBlockDescribeLimitExceeded")
    with pytest.raises(AwsError) as refused:
        offerings.search(ec2, REQUEST)
    assert refused.value.code == "CapacityBlockDescribeLimitExceeded"
    assert "L-64569A79" in refused.value.do


def test_type_not_sold_in_the_region_is_refused_with_regions_that_sell_it():
    ec2 = FakeEc2()
    ec2.search_error = refusal("InvalidParameterValue", "not supported for Capacity Blocks")
    with pytest.raises(InputError, match="does not sell trn2") as refused:
        offerings.search(ec2, REQUEST)
    assert "sa-east-1" in refused.value.do


def test_find_returns_the_offering_with_the_id():
    ec2 = FakeEc2([offering("cb-1"), offering("cb-2", start=START + timedelta(days=1))])
    assert offerings.find(ec2, "cb-2", REQUEST).start == START + timedelta(days=1)


def test_find_returns_the_same_window_under_a_new_id():
    (before,) = offerings.search(FakeEc2([offering("cb-old")]), REQUEST)
    ec2 = FakeEc2([offering("cb-other", start=START + timedelta(days=1)), offering("cb-new", fee="50")])
    assert offerings.find(ec2, "cb-old", REQUEST, before).id == "cb-new"


def test_find_retries_without_a_date_when_the_clock_of_aws_is_ahead():
    (before,) = offerings.search(FakeEc2([offering()]), REQUEST)

    class Ahead(FakeEc2):
        def _pages_of_describe_capacity_block_offerings(self, **request):
            if "StartDateRange" in request:
                raise refusal("InvalidParameterValue", "The specified start date is in the past.")
            return super()._pages_of_describe_capacity_block_offerings(**request)

    found = offerings.find(Ahead([offering()]), "cb-1", REQUEST, before, now=lambda: NOW)
    assert found.id == "cb-1"


def test_find_reports_what_it_searched():
    with pytest.raises(NotFoundError) as missing:
        offerings.find(FakeEc2([offering()]), "cb-none", REQUEST)
    assert "1 x trn2.3xlarge for 24 hours: 1 on sale" in missing.value.why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"UltraserverType": "u-trn2x64", "UltraserverCount": 2}, "UltraServers"),
        ({"CapacityBlockOfferingSegments": [{"AvailabilityZone": "a"}, {"AvailabilityZone": "b"}]}, "several segments"),
    ],
)
def test_offering_that_deploy_cannot_use_is_refused(changes, why):
    usable, unsupported = offerings.search(FakeEc2([offering(), offering("cb-2", **changes)]), REQUEST)
    offerings.refuse_unsupported(usable)
    with pytest.raises(InputError, match="Offering cb-2 was not bought: invoke deploy cannot use it") as refused:
        offerings.refuse_unsupported(unsupported)
    assert why in refused.value.why
