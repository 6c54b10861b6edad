from decimal import Decimal

import pytest
from botocore.exceptions import NoCredentialsError
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.capacity_fakes import NOW, offering, refusal
from tests.unit.search_fakes import FakeMarket, refusing, selling, selling_only
from torchneuron.capacity_blocks.multi_region_search import MultiRegionSearch, SearchProgress, TokenBucket
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.refusals import NotSoldError
from torchneuron.capacity_blocks.search import search_all
from torchneuron.core import display
from torchneuron.core.errors import AccessError, AwsError, InputError, TorchNeuronError

NOT_SOLD = refusal("InvalidParameterValue", "The instance type 'x' is not supported for Capacity Blocks")
DENIED = refusal("UnauthorizedOperation", "You are not authorized to perform this operation.")
LIMITED = refusal("CapacityBlockDescribeLimitExceeded")
NOT_ENABLED = refusal("AuthFailure")
TYPES = ("trn2.3xlarge",)
SECONDS = st.floats(0, 1000, allow_nan=False)


def search(market, query, *, suggest=False):
    return search_all(market, query, suggest=suggest, wait=market.wait, clock=lambda: 0.0, now=lambda: NOW)


def refusals(results):
    return [(refusal.request.region, type(refusal.error)) for refusal in results.refused]


def test_every_combination_is_searched_and_sorted_by_price_per_usable_hour():
    market = FakeMarket({"a": selling(offering("cb-a", fee="60")), "b": selling(offering("cb-b", fee="50"))})
    results = search(market, Query(("a", "b"), ("trn2.3xlarge", "trn1.32xlarge"), (24, 48)))
    assert [offering.id for offering in results.offerings] == ["cb-b", "cb-a"]
    for region in ("a", "b"):
        assert [(asked["InstanceType"], asked["CapacityDurationHours"]) for asked in market.asked[region]] == [
            ("trn2.3xlarge", 24),
            ("trn2.3xlarge", 48),
            ("trn1.32xlarge", 24),
            ("trn1.32xlarge", 48),
        ]


def test_each_region_has_its_own_rate_limit():
    market = FakeMarket({"a": selling(), "b": selling()})
    search(market, Query(("a", "b"), TYPES, (24, 48, 72, 96)))
    # The clock stands still: the third search waits one interval, and the fourth two.
    assert sorted(market.waited) == [2.0, 2.0, 4.0, 4.0]


def test_rate_limit_lasts_from_one_run_to_the_next():
    market = FakeMarket({"a": selling()})
    search(market, Query(("a",), TYPES, (24, 48)), suggest=True)
    assert len(market.asked["a"]) == 3
    assert market.waited == [2.0]


def test_all_regions_are_the_enabled_ones():
    market = FakeMarket({"a": selling(offering()), "b": refusing(NOT_SOLD)})
    results = search(market, Query((), TYPES, (24,)))
    assert results.regions == ("a", "b")
    assert refusals(results) == [("b", NotSoldError)]


def test_offering_above_the_maximum_price_is_listed_apart():
    market = FakeMarket({"a": selling(offering("cb-dear", fee="60"), offering("cb-cheap", fee="50"))})
    results = search(market, Query(("a",), TYPES, (24,), max_price=Decimal(55)))
    assert [block.id for block in results.offerings] == ["cb-cheap"]
    assert [block.id for block in results.dearer] == ["cb-dear"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(NOT_SOLD, NotSoldError), (DENIED, AccessError), (LIMITED, AwsError), (NOT_ENABLED, AccessError)],
)
def test_region_that_fails_does_not_lose_the_others(error, kind):
    market = FakeMarket({"a": refusing(error), "b": selling(offering())})
    results = search(market, Query(("a", "b"), TYPES, (24,)))
    assert refusals(results) == [("a", kind)]
    assert len(results.offerings) == 1


@pytest.mark.parametrize(
    ("errors", "status", "what"),
    [
        ((NOT_SOLD, NOT_SOLD), 2, "AWS sells none of these types"),
        ((DENIED, DENIED), 2, "permission ec2:Fake is missing"),
        ((NOT_SOLD, DENIED), 2, "permission ec2:Fake is missing"),
        ((LIMITED, LIMITED), 1, "Rate limit reached"),
        ((LIMITED, NOT_SOLD), 1, "Rate limit reached"),
        ((LIMITED, NOT_ENABLED), 2, "in b: AWS does not accept these credentials here"),
        ((refusal("InternalError", status=500), NOT_SOLD), 1, "AWS reported an internal error"),
    ],
)
def test_one_error_is_raised_for_all_regions_when_every_region_fails(errors, status, what):
    market = FakeMarket({"a": refusing(errors[0]), "b": refusing(errors[1])})
    with pytest.raises(TorchNeuronError) as failed:
        search(market, Query(("a", "b"), TYPES, (24,)))
    assert what in failed.value.what
    assert failed.value.exit_status == status
    assert all(f"in: {region}" in str(failed.value) or f" {region}" in str(failed.value) for region in ("a", "b"))


def test_type_that_is_not_sold_does_not_end_the_search_for_others():
    market = FakeMarket({"a": lambda asked: NOT_SOLD if asked["InstanceType"] == "inf2.xlarge" else [offering()]})
    results = search(market, Query(("a",), ("inf2.xlarge", "trn2.3xlarge"), (24, 48)))
    assert [(item.request.instance_type, item.request.duration_hours) for item in results.refused] == [
        ("inf2.xlarge", 24),
        ("inf2.xlarge", 48),
    ]
    assert len(results.offerings) == 1


@pytest.mark.parametrize("error", [DENIED, LIMITED])
def test_refusal_that_would_repeat_ends_the_searches_of_the_region(error):
    market = FakeMarket({"a": refusing(error), "b": selling()})
    results = search(market, Query(("a", "b"), TYPES, (24, 48, 72)))
    assert len(market.asked["a"]) == 1
    assert refusals(results) == [("a", type(results.refused[0].error))] * 3


@pytest.mark.parametrize("error", [NoCredentialsError(), refusal("ExpiredToken")])
def test_search_ends_without_valid_credentials(error):
    market = FakeMarket({"a": refusing(error), "b": selling(offering())})
    with pytest.raises(AccessError):
        search(market, Query(("a", "b"), TYPES, (24,)))


def test_rate_limit_error_names_the_quota_of_the_family():
    for instance_type, code in (("trn2.3xlarge", "L-64569A79"), ("trn1.32xlarge", "L-2E30FD7D")):
        with pytest.raises(AwsError) as limited:
            search(FakeMarket({"a": refusing(LIMITED)}), Query(("a",), (instance_type,), (24,)))
        assert code in limited.value.do
    with pytest.raises(AwsError) as limited:
        search(FakeMarket({"a": refusing(LIMITED)}), Query(("a",), ("p5.48xlarge",), (24,)))
    assert " L-" not in limited.value.do
    assert '"Capacity Blocks"' in limited.value.do


def test_suggestions_need_the_option_and_an_empty_result():
    market = FakeMarket({"a": selling(), "b": selling(offering())})
    assert search(market, Query(("a",), TYPES, (24,))).suggestions is None
    assert search(market, Query(("b",), TYPES, (24,)), suggest=True).suggestions == ()
    assert [len(asked) for asked in market.asked.values()] == [1, 1]


def test_suggestions_are_nearest_first_then_other_regions():
    market = FakeMarket(
        {"a": selling_only(InstanceCount=2), "b": selling_only(InstanceCount=8), "c": refusing(NOT_SOLD)}
    )
    results = search(market, Query(("a",), TYPES, (24,), count=8), suggest=True)
    assert [(item.request.region, item.request.count) for item in results.suggestions] == [("a", 2), ("b", 8)]
    assert results.refused == ()


def test_type_not_sold_in_the_region_is_suggested_in_another():
    market = FakeMarket({"a": refusing(NOT_SOLD), "b": selling(offering())})
    results = search(market, Query(("a",), TYPES, (24,)), suggest=True)
    assert [item.request.region for item in results.suggestions] == ["b"]


def test_failure_to_list_other_regions_is_a_warning(capsys):
    denied = AccessError("Could not list the account's regions.")
    market = FakeMarket({"a": selling_only(CapacityDurationHours=48)}, enabled=denied)
    results = search(market, Query(("a",), TYPES, (24,)), suggest=True)
    assert [item.request.duration_hours for item in results.suggestions] == [48]
    assert "Other regions were not searched. Could not list" in capsys.readouterr().err


def test_suggestions_respect_the_maximum_price():
    market = FakeMarket({"a": selling(offering(fee="60"))})
    results = search(market, Query(("a",), TYPES, (24,), max_price=Decimal(55)), suggest=True)
    assert results.suggestions == ()
    assert len(results.dearer) == 1


def test_interrupted_pause_ends_the_searches_of_the_region():
    market = FakeMarket({"a": selling(offering())})
    query = Query(("a",), TYPES, (24, 48, 72))
    with display.waiting("") as progress:
        search = MultiRegionSearch(
            market, SearchProgress(progress), wait=lambda seconds: True, clock=lambda: 0.0, now=lambda: NOW
        )
        found, refused = search.run(query.requests(["a"]), "Searching")
    assert len(market.asked["a"]) == 2
    assert (len(found), refused) == (1, [])


def test_invalid_search_does_not_end_the_others():
    bad = refusal("InvalidParameterValue", "The date is odd.")
    market = FakeMarket({"a": lambda asked: bad if asked["CapacityDurationHours"] == 24 else [offering()]})
    results = search(market, Query(("a",), TYPES, (24, 48)))
    assert refusals(results) == [("a", InputError)]


@pytest.mark.parametrize(
    "unsupported",
    [
        {"UltraserverType": "u-trn2x64"},
        {"CapacityBlockOfferingSegments": [{"AvailabilityZone": "a"}, {"AvailabilityZone": "b"}]},
    ],
)
def test_offering_that_deploy_cannot_use_is_listed_apart_and_never_suggested(unsupported):
    market = FakeMarket({"a": selling(offering("cb-1"), offering("cb-2", **unsupported))})
    results = search(market, Query(("a",), TYPES, (24,)))
    assert [block.id for block in results.offerings] == ["cb-1"]
    assert [block.id for block in results.unsupported] == ["cb-2"]
    only_unsupported = FakeMarket({"a": selling(offering("cb-2", **unsupported))})
    assert search(only_unsupported, Query(("a",), TYPES, (24,)), suggest=True).suggestions == ()


def sent(bucket, idle):
    """When requests are sent that are made `idle` seconds after one another and wait for the bucket."""
    now, times = 1000.0, []
    for pause in idle:
        now += pause
        now += bucket.reserve(now)
        times.append(now)
    return times


def test_two_requests_are_sent_at_once_then_one_every_two_seconds():
    assert sent(TokenBucket(), [0, 0, 0, 0, 0]) == [1000, 1000, 1002, 1004, 1006]


def test_bucket_refills_to_two_requests_and_no_more():
    assert sent(TokenBucket(), [0, 0, 0, 60, 0, 0]) == [1000, 1000, 1002, 1062, 1062, 1064]


@given(st.lists(SECONDS, min_size=1, max_size=30), st.integers(1, 5), st.floats(0.1, 10))
def test_no_period_exceeds_the_rate_limit(idle, burst, interval):
    times = sent(TokenBucket(burst, interval), idle)
    for first in range(len(times)):
        for last in range(first, len(times)):
            limit = burst + (times[last] - times[first]) / interval
            assert last - first + 1 <= limit + 1e-6


@given(st.lists(SECONDS, min_size=1, max_size=30))
def test_wait_is_at_most_one_interval_for_requests_in_turn(idle):
    bucket, now = TokenBucket(), 0.0
    for pause in idle:
        now += pause
        wait = bucket.reserve(now)
        assert 0 <= wait <= bucket.interval + 1e-6
        now += wait
