from decimal import Decimal

import pytest
from botocore.exceptions import NoCredentialsError

from tests.unit.capacity_fakes import NOW, offering, refusal
from tests.unit.search_fakes import FakeMarket, refusing, selling, selling_only
from torchneuron.capacity_blocks.multi_region_search import Sweep, Telling
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.refusals import NotSoldError
from torchneuron.capacity_blocks.searching import search_all
from torchneuron.core import display
from torchneuron.core.errors import AccessError, AwsError, InputError, TorchNeuronError

NOT_SOLD = refusal("InvalidParameterValue", "The instance type 'x' is not supported for Capacity Blocks")
DENIED = refusal("UnauthorizedOperation", "You are not authorized to perform this operation.")
LIMITED = refusal("CapacityBlockDescribeLimitExceeded")
NOT_ENABLED = refusal("AuthFailure")
TYPES = ("trn2.3xlarge",)


def search(market, query, *, suggest=False):
    return search_all(market, query, suggest=suggest, wait=market.wait, clock=lambda: 0.0, now=lambda: NOW)


def told(results):
    return [(one.request.region, type(one.error)) for one in results.refused]


def test_everything_asked_for_is_searched_and_sorted_by_price_per_usable_hour():
    market = FakeMarket({"a": selling(offering("cb-a", fee="60")), "b": selling(offering("cb-b", fee="50"))})
    results = search(market, Query(("a", "b"), ("trn2.3xlarge", "trn1.32xlarge"), (24, 48)))
    assert [one.id for one in results.offerings] == ["cb-b", "cb-a"]
    for region in ("a", "b"):
        assert [(one["InstanceType"], one["CapacityDurationHours"]) for one in market.asked[region]] == [
            ("trn2.3xlarge", 24),
            ("trn2.3xlarge", 48),
            ("trn1.32xlarge", 24),
            ("trn1.32xlarge", 48),
        ]


def test_each_region_is_paced_by_itself():
    market = FakeMarket({"a": selling(), "b": selling()})
    search(market, Query(("a", "b"), TYPES, (24, 48, 72, 96)))
    # The clock stands still: the third waits for its turn, and the fourth for the one after.
    assert sorted(market.waited) == [2.0, 2.0, 4.0, 4.0]


def test_the_pace_goes_on_from_one_sweep_to_the_next():
    market = FakeMarket({"a": selling()})
    search(market, Query(("a",), TYPES, (24, 48)), suggest=True)
    assert len(market.asked["a"]) == 3
    assert market.waited == [2.0]


def test_all_regions_are_those_enabled():
    market = FakeMarket({"a": selling(offering()), "b": refusing(NOT_SOLD)})
    results = search(market, Query((), TYPES, (24,)))
    assert results.regions == ("a", "b")
    assert told(results) == [("b", NotSoldError)]


def test_what_costs_too_much_is_set_aside():
    market = FakeMarket({"a": selling(offering("cb-dear", fee="60"), offering("cb-cheap", fee="50"))})
    results = search(market, Query(("a",), TYPES, (24,), max_price=Decimal(55)))
    assert ([one.id for one in results.offerings], [one.id for one in results.dearer]) == (["cb-cheap"], ["cb-dear"])


@pytest.mark.parametrize(
    ("error", "kind"),
    [(NOT_SOLD, NotSoldError), (DENIED, AccessError), (LIMITED, AwsError), (NOT_ENABLED, AccessError)],
)
def test_a_region_that_fails_is_told_and_the_others_are_shown(error, kind):
    market = FakeMarket({"a": refusing(error), "b": selling(offering())})
    results = search(market, Query(("a", "b"), TYPES, (24,)))
    assert told(results) == [("a", kind)]
    assert len(results.offerings) == 1


@pytest.mark.parametrize(
    ("errors", "status", "what"),
    [
        ((NOT_SOLD, NOT_SOLD), 2, "AWS sells none of this"),
        ((DENIED, DENIED), 2, "permission ec2:Fake is missing"),
        ((NOT_SOLD, DENIED), 2, "permission ec2:Fake is missing"),
        ((LIMITED, LIMITED), 1, "no further for now"),
        ((LIMITED, NOT_SOLD), 1, "no further for now"),
        ((LIMITED, NOT_ENABLED), 2, "in b: AWS does not accept these credentials here"),
        ((refusal("InternalError", status=500), NOT_SOLD), 1, "fault of its own"),
    ],
)
def test_where_every_region_fails_the_most_telling_error_ends_the_search_and_names_the_rest(errors, status, what):
    market = FakeMarket({"a": refusing(errors[0]), "b": refusing(errors[1])})
    with pytest.raises(TorchNeuronError) as failed:
        search(market, Query(("a", "b"), TYPES, (24,)))
    assert what in failed.value.what
    assert failed.value.exit_status == status
    assert all(f"in: {region}" in str(failed.value) or f" {region}" in str(failed.value) for region in ("a", "b"))


def test_a_type_that_is_not_sold_does_not_end_the_search_for_others():
    market = FakeMarket({"a": lambda asked: NOT_SOLD if asked["InstanceType"] == "inf2.xlarge" else [offering()]})
    results = search(market, Query(("a",), ("inf2.xlarge", "trn2.3xlarge"), (24, 48)))
    assert [(one.request.instance_type, one.request.duration_hours) for one in results.refused] == [
        ("inf2.xlarge", 24),
        ("inf2.xlarge", 48),
    ]
    assert len(results.offerings) == 1


@pytest.mark.parametrize("error", [DENIED, LIMITED])
def test_a_refusal_that_the_next_search_would_meet_too_ends_the_region(error):
    market = FakeMarket({"a": refusing(error), "b": selling()})
    results = search(market, Query(("a", "b"), TYPES, (24, 48, 72)))
    assert len(market.asked["a"]) == 1
    assert told(results) == [("a", type(results.refused[0].error))] * 3


@pytest.mark.parametrize("error", [NoCredentialsError(), refusal("ExpiredToken")])
def test_without_credentials_no_region_is_searched_on(error):
    market = FakeMarket({"a": refusing(error), "b": selling(offering())})
    with pytest.raises(AccessError):
        search(market, Query(("a", "b"), TYPES, (24,)))


def test_a_limit_that_persists_names_the_quota_of_its_family():
    for instance_type, code in (("trn2.3xlarge", "L-64569A79"), ("trn1.32xlarge", "L-2E30FD7D")):
        with pytest.raises(AwsError) as limited:
            search(FakeMarket({"a": refusing(LIMITED)}), Query(("a",), (instance_type,), (24,)))
        assert code in limited.value.do
    with pytest.raises(AwsError) as limited:
        search(FakeMarket({"a": refusing(LIMITED)}), Query(("a",), ("p5.48xlarge",), (24,)))
    assert " L-" not in limited.value.do
    assert '"Capacity Blocks"' in limited.value.do


def test_nothing_is_suggested_unless_asked_for_or_where_something_is_on_sale():
    market = FakeMarket({"a": selling(), "b": selling(offering())})
    assert search(market, Query(("a",), TYPES, (24,))).suggestions is None
    assert search(market, Query(("b",), TYPES, (24,)), suggest=True).suggestions == ()
    assert [len(asked) for asked in market.asked.values()] == [1, 1]


def test_what_is_on_sale_nearby_is_suggested_nearest_first_then_other_regions():
    market = FakeMarket(
        {"a": selling_only(InstanceCount=2), "b": selling_only(InstanceCount=8), "c": refusing(NOT_SOLD)}
    )
    results = search(market, Query(("a",), TYPES, (24,), count=8), suggest=True)
    assert [(one.request.region, one.request.count) for one in results.suggestions] == [("a", 2), ("b", 8)]
    assert results.refused == ()


def test_a_type_sold_nowhere_asked_is_suggested_elsewhere():
    market = FakeMarket({"a": refusing(NOT_SOLD), "b": selling(offering())})
    results = search(market, Query(("a",), TYPES, (24,)), suggest=True)
    assert [one.request.region for one in results.suggestions] == ["b"]


def test_other_regions_that_cannot_be_listed_are_a_warning(capsys):
    denied = AccessError("Could not list the account's regions.")
    market = FakeMarket({"a": selling_only(CapacityDurationHours=48)}, enabled=denied)
    results = search(market, Query(("a",), TYPES, (24,)), suggest=True)
    assert [one.request.duration_hours for one in results.suggestions] == [48]
    assert "Other regions were not searched. Could not list" in capsys.readouterr().err


def test_suggestions_too_keep_to_the_highest_price():
    market = FakeMarket({"a": selling(offering(fee="60"))})
    results = search(market, Query(("a",), TYPES, (24,), max_price=Decimal(55)), suggest=True)
    assert results.suggestions == ()
    assert len(results.dearer) == 1


def test_an_interrupted_pause_ends_the_region():
    market = FakeMarket({"a": selling(offering())})
    query = Query(("a",), TYPES, (24, 48, 72))
    with display.waiting("") as progress:
        sweep = Sweep(market, Telling(progress), wait=lambda seconds: True, clock=lambda: 0.0, now=lambda: NOW)
        found, refused = sweep.search(query.requests(["a"]), "Searching")
    assert len(market.asked["a"]) == 2
    assert (len(found), refused) == (1, [])


def test_a_search_that_cannot_be_is_an_error_of_that_search_only():
    bad = refusal("InvalidParameterValue", "The date is odd.")
    market = FakeMarket({"a": lambda asked: bad if asked["CapacityDurationHours"] == 24 else [offering()]})
    results = search(market, Query(("a",), TYPES, (24, 48)))
    assert told(results) == [("a", InputError)]
