from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.capacity_fakes import NOW, REGION, START, FakeEc2, offering, refusal
from torchneuron.capacity_blocks import offerings, shown
from torchneuron.capacity_blocks.offerings import SearchRequest
from torchneuron.errors import AwsError, InputError, NotFoundError

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


def test_find_says_what_it_looked_among():
    with pytest.raises(NotFoundError) as missing:
        offerings.find(FakeEc2([offering()]), "cb-none", REQUEST)
    assert "1 x trn2.3xlarge for 24 hours: 1 on sale" in missing.value.why


def test_what_was_shown_is_recalled_whole(tmp_path):
    (block,) = offerings.search(FakeEc2([offering()]), REQUEST)
    shown.remember(tmp_path, [block], NOW)
    assert shown.recall(tmp_path, "cb-1", REGION) == block
    assert shown.recall(tmp_path, "cb-1", "us-east-2") is None
    assert shown.recall(tmp_path, "cb-2", REGION) is None


def test_what_has_started_is_forgotten_and_the_rest_kept(tmp_path):
    old, new = offerings.search(
        FakeEc2([offering("cb-old"), offering("cb-new", start=START + timedelta(days=9))]), REQUEST
    )
    shown.remember(tmp_path, [old], NOW)
    shown.remember(tmp_path, [new], START + timedelta(days=1))
    assert shown.recall(tmp_path, "cb-old", REGION) is None
    assert shown.recall(tmp_path, "cb-new", REGION) == new


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cb-1": {}}', '{"cb-1": null}'])
def test_a_damaged_memory_is_no_memory(tmp_path, text):
    (tmp_path / "offerings-shown.json").write_text(text)
    assert shown.recall(tmp_path, "cb-1", REGION) is None


def test_a_search_succeeds_where_nothing_can_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (block,) = offerings.search(FakeEc2([offering()]), REQUEST)
    shown.remember(tmp_path / "file", [block], NOW)
    assert "--duration" in capsys.readouterr().err
