from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.capacity_fakes import REGION, START
from torchneuron.capacity_blocks import suggestions
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.rules import SOLD_HOURS, SearchRequest

ASKED = SearchRequest("trn2.3xlarge", 24, 1, REGION)


def test_one_instance_for_a_day_has_only_longer_alternatives():
    assert suggestions.nearby([ASKED]) == [replace(ASKED, duration_hours=48)]


def test_alternatives_are_other_dates_then_durations_then_smaller_counts():
    asked = SearchRequest("trn2.3xlarge", 336, 10, REGION, start_before=START)
    assert suggestions.nearby([asked]) == [
        replace(asked, start_before=None),
        replace(asked, duration_hours=504),
        replace(asked, duration_hours=312),
        replace(asked, count=5),
        replace(asked, count=2),
        replace(asked, count=1),
    ]


def test_alternatives_of_several_searches_alternate():
    asked = [replace(ASKED, count=8), replace(ASKED, count=8, region="us-east-2")]
    assert [request.region for request in suggestions.nearby(asked)[:4]] == [REGION, "us-east-2"] * 2


@given(
    st.lists(
        st.builds(
            SearchRequest,
            instance_type=st.sampled_from(["a.b", "c.d"]),
            duration_hours=st.sampled_from(SOLD_HOURS),
            count=st.integers(1, 64),
            region=st.sampled_from(["x", "y"]),
            start_after=st.none() | st.just(START),
        ),
        max_size=6,
        unique=True,
    )
)
def test_alternatives_are_sold_new_and_few(empty):
    nearby = suggestions.nearby(empty)
    assert len(nearby) == len(set(nearby)) <= suggestions.MAX_NEARBY
    assert not set(nearby) & set(empty)
    assert all(request.duration_hours in SOLD_HOURS and request.count >= 1 for request in nearby)


def test_elsewhere_is_every_other_region_for_the_first_duration():
    query = Query((REGION,), ("trn2.3xlarge", "trn1.32xlarge"), (48, 24))
    found = suggestions.elsewhere(query, [REGION], ["eu-west-1", REGION])
    assert found == [
        SearchRequest("trn2.3xlarge", 48, 1, "eu-west-1"),
        SearchRequest("trn1.32xlarge", 48, 1, "eu-west-1"),
    ]


def test_difference_is_described():
    query = Query((REGION,), ("trn2.3xlarge",), (24,), count=4, start_after=START)
    other = SearchRequest("trn2.3xlarge", 48, 2, "us-east-2")
    assert suggestions.difference(query, other) == "in us-east-2, for 2 days, only 2 x trn2.3xlarge, at any time"
