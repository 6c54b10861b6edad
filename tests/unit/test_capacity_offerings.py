from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from tests.unit.capacity_fakes import NOW, REGION, START, FakeEc2, offering, refusal
from tests.unit.offerings_support import block, of_segments, of_ultraservers
from torchneuron.capacity_blocks import offerings
from torchneuron.capacity_blocks.search_request import SearchRequest
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
    assert [one.id for one in found] == ["cb-soon", "cb-late", "cb-dear"]
    assert ec2.calls == [
        (
            "DescribeCapacityBlockOfferings",
            {"InstanceType": "trn2.3xlarge", "InstanceCount": 1, "CapacityDurationHours": 24},
        )
    ]


def test_an_offering_has_exact_money_and_the_hours_it_can_be_used():
    (block,) = offerings.search(FakeEc2([offering()]), REQUEST)
    assert block.fee == Decimal("53.64")
    assert block.usable == timedelta(hours=23, minutes=30)
    assert block.price_per_instance_hour == Decimal("2.235")
    assert block.reclaimed == START + timedelta(hours=23, minutes=30)
    assert block.start.utcoffset() == timedelta(0)


def test_an_offering_of_segments_names_their_zones():
    parts = [{"AvailabilityZone": "us-east-2a"}, {"AvailabilityZone": "us-east-2b"}]
    (block,) = offerings.search(FakeEc2([offering(AvailabilityZone="", CapacityBlockOfferingSegments=parts)]), REQUEST)
    assert block.zone == "us-east-2a+us-east-2b"
    # Nothing was said of how many are where.
    assert block.usable == timedelta(hours=23, minutes=30)


def part(zone, count, days, fee="100.00", hours=24):
    start = START + timedelta(days=days)
    return {
        "AvailabilityZone": zone,
        "InstanceType": "trn1.32xlarge",
        "InstanceCount": count,
        "StartDate": start,
        "EndDate": start + timedelta(hours=hours),
        "UpfrontFee": fee,
    }


def test_what_an_offering_of_segments_leaves_out_is_what_they_have():
    parts = [part("us-east-2a", 12, 0, "120.10"), part("us-east-2b", 8, 2, "80.20")]
    raw = {"CapacityBlockOfferingId": "cb-1", "CapacityBlockOfferingSegments": parts}
    (block,) = offerings.search(FakeEc2([raw]), replace(REQUEST, instance_type="trn1.32xlarge", count=20))
    assert (block.instance_type, block.count, block.fee) == ("trn1.32xlarge", 20, Decimal("200.30"))
    assert (block.start, block.end) == (START, START + timedelta(days=3))
    assert [one.zone for one in block.segments] == ["us-east-2a", "us-east-2b"]


@pytest.mark.parametrize(
    ("parts", "count", "hours"),
    [
        # At once, at different times, one after the other, and of different lengths.
        ([part("a", 12, 0), part("b", 8, 0)], 20, 23.5),
        ([part("a", 12, 0), part("b", 8, 5)], 20, 23.5),
        ([part("a", 4, 0), part("b", 4, 1)], 4, 47),
        ([part("a", 1, 0, hours=24), part("b", 1, 0, hours=48)], 2, 35.5),
    ],
)
def test_usable_hours_of_segments_are_those_an_instance_has(parts, count, hours):
    raw = offering(InstanceCount=count, CapacityBlockOfferingSegments=parts)
    (block,) = offerings.search(FakeEc2([raw]), replace(REQUEST, count=count))
    assert block.usable == timedelta(hours=hours)


def test_one_segment_is_no_segment():
    (block,) = offerings.search(FakeEc2([offering(CapacityBlockOfferingSegments=[part("a", 1, 0)])]), REQUEST)
    assert block.segments == ()


def test_a_block_too_short_to_be_used_comes_last():
    short = offering("cb-short", EndDate=START + timedelta(minutes=30), CapacityBlockDurationHours=0)
    short["CapacityBlockDurationMinutes"] = 30
    found = offerings.search(FakeEc2([short, offering("cb-long")]), REQUEST)
    assert [one.id for one in found] == ["cb-long", "cb-short"]
    assert found[1].usable == timedelta(0)


def test_ultraservers_are_asked_for_by_their_own_type_and_their_instances_counted():
    request = SearchRequest("", 24, 2, "us-east-2", ultraserver_type="u-trn2x64", all_zones=True)
    raw = offering(InstanceType="trn2u.48xlarge", UltraserverType="u-trn2x64", UltraserverCount=2)
    del raw["InstanceCount"]
    ec2 = FakeEc2([raw])
    (block,) = offerings.search(ec2, request)
    assert ec2.calls[0][1] == {
        "UltraserverType": "u-trn2x64",
        "UltraserverCount": 2,
        "CapacityDurationHours": 24,
        "AllAvailabilityZones": True,
    }
    assert (block.ultraserver_count, block.count, block.usable) == (2, 8, timedelta(hours=23))


def test_dates_are_asked_for_as_ec2_has_them_and_kept_to_the_minute():
    after, before = START - timedelta(days=1), START + timedelta(days=1)
    ec2 = FakeEc2([offering(f"cb-{hours}", start=START + timedelta(hours=hours)) for hours in (-25, -24, 0, 24, 25)])
    found = offerings.search(ec2, replace(REQUEST, start_after=after, start_before=before), now=lambda: NOW)
    assert [one.id for one in found] == ["cb--24", "cb-0", "cb-24"]
    asked = ec2.calls[0][1]
    assert asked["StartDateRange"] == after
    # Blocks end at one time of the day: one that starts late on the last day ends a day later.
    assert asked["EndDateRange"] == before + timedelta(hours=48)


@pytest.mark.parametrize("after", [NOW - timedelta(days=400), NOW, NOW + timedelta(minutes=30)])
def test_a_past_date_is_not_asked_for_as_aws_refuses_it(after):
    ec2 = FakeEc2([offering()])
    assert len(offerings.search(ec2, replace(REQUEST, start_after=after), now=lambda: NOW)) == 1
    assert "StartDateRange" not in ec2.calls[0][1]


def test_the_end_of_the_calendar_is_a_date():
    request = replace(REQUEST, start_before=datetime.max.replace(tzinfo=timezone.utc))
    assert len(offerings.search(FakeEc2([offering()]), request, now=lambda: NOW)) == 1


@pytest.mark.parametrize("bad", [replace(REQUEST, duration_hours=25), replace(REQUEST, count=65)])
def test_what_is_never_sold_is_refused_before_any_call(bad):
    ec2 = FakeEc2()
    with pytest.raises(InputError):
        offerings.search(ec2, bad)
    assert ec2.calls == []


def test_the_search_limit_is_explained_with_its_quota():
    ec2 = FakeEc2()
    ec2.search_error = refusal("CapacityBlockDescribeLimitExceeded")
    with pytest.raises(AwsError) as refused:
        offerings.search(ec2, REQUEST)
    assert refused.value.code == "CapacityBlockDescribeLimitExceeded"
    assert "L-64569A79" in refused.value.do


def test_a_type_that_is_not_sold_there_is_bad_input_that_names_where_it_is():
    ec2 = FakeEc2()
    ec2.search_error = refusal("InvalidParameterValue", "not supported for Capacity Blocks")
    with pytest.raises(InputError, match="does not sell trn2") as refused:
        offerings.search(ec2, REQUEST)
    assert "sa-east-1" in refused.value.do


def test_find_takes_the_offering_with_the_id():
    ec2 = FakeEc2([offering("cb-1"), offering("cb-2", start=START + timedelta(days=1))])
    assert offerings.find(ec2, "cb-2", REQUEST).start == START + timedelta(days=1)


def test_find_takes_the_same_window_quoted_anew():
    (before,) = offerings.search(FakeEc2([offering("cb-old")]), REQUEST)
    ec2 = FakeEc2([offering("cb-other", start=START + timedelta(days=1)), offering("cb-new", fee="50")])
    assert offerings.find(ec2, "cb-old", REQUEST, before).id == "cb-new"


def test_a_shown_block_is_found_although_its_date_is_past_for_aws_and_not_for_this_machine():
    (before,) = offerings.search(FakeEc2([offering()]), REQUEST)

    class Ahead(FakeEc2):
        def _pages_of_describe_capacity_block_offerings(self, **request):
            if "StartDateRange" in request:
                raise refusal("InvalidParameterValue", "The specified start date is in the past.")
            return super()._pages_of_describe_capacity_block_offerings(**request)

    found = offerings.find(Ahead([offering()]), "cb-1", REQUEST, before, now=lambda: NOW)
    assert found.id == "cb-1"


def test_find_says_what_it_looked_among():
    with pytest.raises(NotFoundError) as missing:
        offerings.find(FakeEc2([offering()]), "cb-none", REQUEST)
    assert "1 x trn2.3xlarge for 24 hours: 1 on sale" in missing.value.why


@pytest.mark.parametrize(
    ("unsupported", "why"),
    [(of_ultraservers(), "not UltraServers"), (of_segments(("a", 12, 0, 24), ("b", 8, 0, 24)), "several segments")],
)
def test_offering_that_deploy_cannot_use_is_refused(unsupported, why):
    with pytest.raises(InputError, match=f"Offering {unsupported.id} was not bought") as refused:
        offerings.refuse_unsupported(unsupported)
    assert why in refused.value.why
    offerings.refuse_unsupported(block())
