from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.capacity_fakes import NOW, REGION
from torchneuron.capacity_blocks.query import Query, SearchOptions, read
from torchneuron.core.errors import InputError


def query(**given):
    return read(SearchOptions(**given), default_type="trn2.3xlarge", default_region=REGION, now=NOW)


def test_defaults_are_one_instance_of_the_default_type_for_a_day():
    assert query() == Query((REGION,), ("trn2.3xlarge",), (24,), count=1)


def test_names_are_read_once_each_in_order():
    found = query(type="trn2.3xlarge,trn1.32xlarge,trn2.3xlarge", duration="48,24,48", region="US-EAST-2,us-east-2")
    assert found == Query(("us-east-2",), ("trn2.3xlarge", "trn1.32xlarge"), (48, 24))
    assert query(region="us-east-2,all").regions == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start_after": NOW + timedelta(weeks=9)}, "No block on sale starts as late as 2026-03-14 09:00 UTC"),
        ({"start_before": NOW + timedelta(minutes=20)}, "No block on sale starts as soon as 2026-01-10 09:20 UTC"),
        (
            {"start_after": NOW + timedelta(days=2), "start_before": NOW + timedelta(days=1)},
            "--start-before is before --start-after.",
        ),
        ({"type": "a.b,c.d,e.f", "duration": "24,48,72,96,120"}, "Too many searches: 15 per region."),
        ({"count": 0}, "A Capacity Block cannot have 0 instances."),
        ({"type": "trn2"}, "'trn2' is not an instance type."),
    ],
)
def test_query_that_can_find_nothing_is_refused(given, message):
    with pytest.raises(InputError) as refused:
        query(**given)
    assert refused.value.what.startswith(message)


def test_query_is_described():
    found = query(duration="24,48", count=2, start_after=NOW + timedelta(days=1), max_price=Decimal(60))
    assert found.describe([REGION]) == (
        "2 x trn2.3xlarge for 1 day or 2 days in sa-east-1, starting from 2026-01-11 09:00 UTC, for at most 60"
    )
    assert query().describe(["a", "b", "c", "d"]) == "1 x trn2.3xlarge for 1 day in 4 regions"


def test_command_has_every_option_of_one_search():
    found = query(start_after=NOW + timedelta(days=1), max_price=Decimal(60), all_zones=True)
    (request,) = found.requests([REGION])
    assert found.command(replace(request, duration_hours=48)) == (
        "invoke cb.search -t trn2.3xlarge -d 48 -r sa-east-1 --count 1 --start-after 2026-01-11T09:00:00Z"
        " --max-price 60 --all-zones"
    )
