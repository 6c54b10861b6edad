from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.unit.capacity_fakes import NOW, START, FakeEc2, offering, refusal
from tests.unit.offerings_support import block
from tests.unit.purchase_support import LOST, REQUEST, Approval, bought_times, buy, noted
from torchneuron.capacity_blocks import offerings, shown
from torchneuron.capacity_blocks import purchase as purchasing
from torchneuron.capacity_blocks.options import PurchaseOptions
from torchneuron.capacity_blocks.purchase import try_out
from torchneuron.capacity_blocks.purchase_request import PurchaseRequest
from torchneuron.core import config
from torchneuron.core.errors import (
    AccessError,
    Declined,
    InputError,
    NotFoundError,
    PurchaseError,
    PurchaseUnknownError,
)

pytestmark = pytest.mark.usefixtures("state_dir")


def test_purchase_looks_up_before_and_after_the_question_and_buys_once():
    ec2, approve = FakeEc2([offering()]), Approval()
    reservation = buy(ec2, approve=approve)
    assert ec2.operations() == [
        "DescribeCapacityReservations",
        "DescribeCapacityBlockOfferings",
        "DescribeCapacityReservations",
        "PurchaseCapacityBlock",
        "DescribeCapacityReservations",
    ]
    assert [offering.id for offering in approve.seen] == ["cb-1"]
    assert (reservation.id, reservation.state, reservation.count) == ("cr-1", "scheduled", 1)


def test_request_is_tagged_with_its_intent():
    ec2 = FakeEc2([offering()])
    buy(ec2)
    request = dict(ec2.calls)["PurchaseCapacityBlock"]
    assert request["CapacityBlockOfferingId"] == "cb-1"
    assert request["InstancePlatform"] == "Linux/UNIX"
    (specification,) = request["TagSpecifications"]
    assert specification["ResourceType"] == "capacity-reservation"
    assert {tag["Key"]: tag["Value"] for tag in specification["Tags"]} == {
        "Project": "a-project",
        "ManagedBy": "torchneuron",
        "torchneuron:intent": "trn2.3xlarge/1/sa-east-1b/2026-01-12T11:30Z/2026-01-13T11:30Z",
        "torchneuron:offering-id": "cb-1",
        "torchneuron:upfront-fee": "53.64 USD",
    }


def test_same_command_buys_nothing_again_even_when_the_offering_is_gone(capsys):
    ec2 = FakeEc2([offering()])
    first = buy(ec2)
    ec2.offerings.clear()
    approve = Approval()
    assert buy(ec2, approve=approve) == first
    assert bought_times(ec2) == 1
    assert approve.seen == []
    assert "bought already: cr-1" in capsys.readouterr().err


def test_same_window_under_another_id_is_not_bought_again():
    ec2 = FakeEc2([offering()])
    buy(ec2)
    ec2.offerings = [offering("cb-new")]
    assert buy(ec2, replace(REQUEST, offering_id="cb-new")).id == "cr-1"
    assert bought_times(ec2) == 1


def test_block_can_be_bought_again_after_a_failed_payment():
    ec2 = FakeEc2([offering()])
    buy(ec2)
    ec2.reservations[0]["State"] = "payment-failed"
    assert buy(ec2).id == "cr-2"


def test_declined_offering_is_not_bought():
    ec2 = FakeEc2([offering()])
    with pytest.raises(Declined):
        buy(ec2, approve=Approval(answer=False))
    assert bought_times(ec2) == 0


def test_offering_that_is_gone_is_not_bought():
    ec2 = FakeEc2([])
    with pytest.raises(NotFoundError):
        buy(ec2)
    assert bought_times(ec2) == 0


def test_other_start_time_is_refused_with_both_times():
    ec2 = FakeEc2([offering()])
    with pytest.raises(InputError) as refused:
        buy(ec2, replace(REQUEST, start_time=START + timedelta(hours=1)))
    assert "2026-01-12 12:30 UTC" in refused.value.what
    assert "--start-time 2026-01-12T11:30:00Z" in refused.value.do
    assert bought_times(ec2) == 0


def test_price_that_rose_since_the_search_is_refused():
    (before,) = offerings.search(FakeEc2([offering(fee="50")]), REQUEST.search)
    ec2 = FakeEc2([offering(fee="60")])
    with pytest.raises(InputError, match="now costs more") as refused:
        buy(ec2, replace(REQUEST, shown=before))
    assert "50" in refused.value.why
    assert "60" in refused.value.why
    assert bought_times(ec2) == 0


@pytest.mark.parametrize("lost", LOST, ids=lambda lost: type(lost).__name__)
def test_purchase_is_not_repeated_when_the_response_is_lost(lost):
    ec2 = FakeEc2([offering()])
    ec2.lose = lost
    assert buy(ec2).id == "cr-1"
    assert bought_times(ec2) == 1


def test_purchase_is_looked_up_until_it_shows():
    ec2 = FakeEc2([offering()])
    slept: list[float] = []
    ec2.lose = LOST[0]
    hidden = []

    def show_late():
        if ec2.reservations and sum(slept) < 10:
            hidden.extend(ec2.reservations)
            ec2.reservations = []
        elif sum(slept) >= 10:
            ec2.reservations = hidden

    ec2.on_describe = show_late
    assert buy(ec2, sleep=slept.append).id == "cr-1"
    assert bought_times(ec2) == 1


@pytest.mark.parametrize("lost", LOST, ids=lambda lost: type(lost).__name__)
def test_purchase_that_does_not_show_is_unknown_with_the_lookup_command(lost):
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = lost, True
    with pytest.raises(PurchaseUnknownError) as unknown:
        buy(ec2)
    assert bought_times(ec2) == 1
    assert "aws ec2 describe-capacity-reservations --region sa-east-1" in unknown.value.do
    assert "trn2.3xlarge/1/sa-east-1b/2026-01-12T11:30Z" in unknown.value.do
    assert unknown.value.exit_status == 3


@pytest.mark.parametrize(
    "error",
    [EndpointConnectionError(endpoint_url="https://ec2"), refusal("RequestLimitExceeded", status=503)],
    ids=["no connection", "throttled"],
)
def test_refused_request_bought_nothing(error):
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = error, True
    with pytest.raises(PurchaseError, match=r"Nothing was bought\."):
        buy(ec2)
    assert ec2.operations()[-1] == "PurchaseCapacityBlock"


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("InvalidCapacityBlockOfferingIdExpired", PurchaseError, "no longer on sale"),
        ("InvalidCapacityBlockOfferingIdNotFound", PurchaseError, "does not know this offering"),
        ("UnauthorizedOperation", AccessError, "permission"),
        ("SomethingElse", PurchaseError, "SomethingElse"),
    ],
)
def test_refusal_says_that_nothing_was_bought_and_why(code, kind, words):
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = refusal(code), True
    with pytest.raises(kind, match=r"Nothing was bought") as refused:
        buy(ec2)
    assert not isinstance(refused.value, PurchaseUnknownError)
    assert words in str(refused.value)


def pay_after(ec2, looks, state):
    left = iter(range(looks + 1))

    def advance():
        if ec2.reservations and next(left, None) == looks:
            ec2.reservations[0]["State"] = state

    ec2.on_describe = advance


def test_purchase_waits_for_the_payment():
    ec2 = FakeEc2([offering()])
    slept: list[float] = []
    ec2.state_when_bought = "payment-pending"
    pay_after(ec2, 3, "scheduled")
    assert buy(ec2, sleep=slept.append).state == "scheduled"
    assert len(slept) == 3
    assert slept == sorted(slept)


def test_failed_payment_is_an_error_that_says_what_it_means():
    ec2 = FakeEc2([offering()])
    ec2.state_when_bought = "payment-pending"
    pay_after(ec2, 1, "payment-failed")
    with pytest.raises(PurchaseError, match="cr-1 is lost: the payment failed") as failed:
        buy(ec2)
    assert "released" in failed.value.why


def test_failed_block_is_not_reported_as_a_failed_payment():
    ec2 = FakeEc2([offering()])
    ec2.state_when_bought = "payment-pending"
    pay_after(ec2, 1, "failed")
    with pytest.raises(PurchaseError, match="cr-1 is lost: failed: nothing was reserved") as failed:
        buy(ec2)
    assert "payment" not in str(failed.value)


def test_wait_for_a_slow_payment_ends_after_half_an_hour():
    ec2 = FakeEc2([offering()])
    slept: list[float] = []
    ec2.state_when_bought = "payment-pending"
    assert buy(ec2, sleep=slept.append).state == "payment-pending"
    assert 1800 <= sum(slept) < 1830


def test_block_that_describe_does_not_show_yet_is_waited_for():
    ec2 = FakeEc2([offering()])
    ec2.state_when_bought = "payment-pending"
    looks = []

    def hide_once():
        if ec2.reservations:
            looks.append(1)
            if len(looks) == 1:
                raise refusal("InvalidCapacityReservationId.NotFound")
            ec2.reservations[0]["State"] = "scheduled"

    ec2.on_describe = hide_once
    assert buy(ec2).state == "scheduled"


def test_block_that_a_colleague_bought_during_the_question_is_not_bought_again(capsys):
    ec2 = FakeEc2([offering()])

    def answer_late(_):
        assert buy(ec2, replace(REQUEST, offering_id="cb-1", state_dir=Path("colleague"))).id == "cr-1"
        return True

    assert buy(ec2, approve=answer_late).id == "cr-1"
    assert bought_times(ec2) == 1
    assert "bought already: cr-1" in capsys.readouterr().err


def test_window_that_a_colleague_bought_under_another_id_is_not_bought_again():
    ec2 = FakeEc2([offering(), offering("cb-2")])

    def answer_late(_):
        buy(ec2, replace(REQUEST, offering_id="cb-2", state_dir=Path("colleague")))
        return True

    assert buy(ec2, approve=answer_late).id == "cr-1"
    assert bought_times(ec2) == 1


def answering(ec2, change):
    """Let the purchase take effect, and `change` its response."""
    send = ec2.purchase_capacity_block
    ec2.purchase_capacity_block = lambda **request: change(send(**request))


@pytest.mark.parametrize("member", ["AvailabilityZone", "State", "StartDate", "InstanceType", "Tags", "EndDate"])
def test_response_with_an_id_is_a_purchase_whatever_else_is_missing(member, capsys):
    ec2 = FakeEc2([offering()])
    answering(ec2, lambda answer: {"CapacityReservation": without(answer["CapacityReservation"], member)})
    assert buy(ec2).id == "cr-1"
    assert "Bought: cr-1." in capsys.readouterr().err


@pytest.mark.parametrize(
    "answer",
    [{}, {"CapacityReservation": {}}, {"CapacityReservation": None}, {"CapacityReservation": {"State": "scheduled"}}],
)
def test_response_without_a_block_is_settled_by_looking(answer):
    ec2 = FakeEc2([offering()])
    answering(ec2, lambda _: answer)
    assert buy(ec2).id == "cr-1"
    assert bought_times(ec2) == 1


def test_unreadable_lookups_end_as_unknown():
    ec2 = FakeEc2([offering()])

    def lose_all(answer):
        ec2._pages_of_describe_capacity_reservations = lambda: iter([{}])
        return {}

    answering(ec2, lose_all)
    with pytest.raises(PurchaseUnknownError, match="not known whether cb-1 was bought"):
        buy(ec2)
    assert len(noted()) == 1


def without(raw, member):
    return {key: value for key, value in raw.items() if key != member}


def test_price_above_the_limit_is_refused():
    ec2 = FakeEc2([offering()])
    with pytest.raises(InputError, match=r"costs 53\.64 USD, more than --max-price 53"):
        buy(ec2, replace(REQUEST, max_price=Decimal("53")))
    assert bought_times(ec2) == 0
    assert buy(ec2, replace(REQUEST, max_price=Decimal("53.64"))).id == "cr-1"


def test_max_price_accepts_a_price_that_rose():
    (before,) = offerings.search(FakeEc2([offering(fee="50")]), REQUEST.search)
    assert buy(FakeEc2([offering(fee="60")]), replace(REQUEST, shown=before, max_price=Decimal("60"))).id == "cr-1"


def test_shown_offering_that_deploy_cannot_use_is_refused_before_any_call():
    settings = config.load()
    unsupported = block(unsupported_reason="It has several segments.")
    shown.remember(settings.state_dir, [unsupported], NOW)
    with pytest.raises(InputError, match="was not bought: invoke deploy cannot use it") as refused:
        PurchaseRequest.from_options(settings, PurchaseOptions(offering_id=unsupported.id))
    assert refused.value.why == "It has several segments."
    assert refused.value.exit_status == 2


def test_quoted_offering_of_several_segments_is_refused_before_the_question():
    segments = [
        {"AvailabilityZone": zone, "InstanceCount": 1, "StartDate": START, "EndDate": START + timedelta(hours=24)}
        for zone in ("sa-east-1a", "sa-east-1b")
    ]
    ec2, approve = FakeEc2([offering(CapacityBlockOfferingSegments=segments)]), Approval()
    with pytest.raises(InputError, match="was not bought: invoke deploy cannot use it"):
        buy(ec2, approve=approve)
    assert approve.seen == []
    assert bought_times(ec2) == 0


def test_reservations_that_an_earlier_version_bought_together_are_all_named(capsys):
    ec2 = FakeEc2([offering()])
    first = buy(ec2)
    ec2.reservations.append({**ec2.reservations[0], "CapacityReservationId": "cr-2", "AvailabilityZone": "sa-east-1c"})
    assert buy(ec2).id == first.id
    assert bought_times(ec2) == 1
    assert "bought already: cr-1, cr-2, scheduled." in capsys.readouterr().err


def test_error_before_the_request_is_sent_is_not_reported_as_unknown(monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(purchasing, "tags_for", fail)
    ec2 = FakeEc2([offering()])
    with pytest.raises(RuntimeError, match="a bug"):
        buy(ec2)
    assert bought_times(ec2) == 0
    assert noted() == []


@pytest.mark.parametrize("lost", LOST, ids=lambda lost: type(lost).__name__)
def test_unknown_purchase_keeps_the_cause(lost):
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = lost, True
    with pytest.raises(PurchaseUnknownError) as unknown:
        buy(ec2)
    cause = unknown.value.__cause__
    assert lost in (cause, cause.__cause__)


def test_dry_run_sends_a_dry_run_request_and_buys_nothing(capsys):
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = refusal("DryRunOperation", status=412), True
    tried = try_out(ec2, ec2, REQUEST, now=lambda: NOW)
    assert tried.id == "cb-1"
    assert dict(ec2.calls)["PurchaseCapacityBlock"]["DryRun"] is True
    assert ec2.reservations == []
    assert noted() == []


@pytest.mark.parametrize(
    ("code", "kind"), [("UnauthorizedOperation", AccessError), ("InvalidCapacityBlockOfferingIdExpired", PurchaseError)]
)
def test_dry_run_reports_the_refusal_of_the_purchase(code, kind):
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = refusal(code), True
    with pytest.raises(kind, match="Nothing was bought"):
        try_out(ec2, ec2, REQUEST, now=lambda: NOW)


def test_executed_dry_run_is_not_reported_as_nothing_bought():
    with pytest.raises(PurchaseUnknownError, match="may have executed the dry run") as unknown:
        try_out(FakeEc2([offering()]), FakeEc2([offering()]), REQUEST, now=lambda: NOW)
    assert "aws ec2 describe-capacity-reservations" in unknown.value.do


def test_dry_run_of_a_block_that_was_bought_already_says_so(capsys):
    ec2 = FakeEc2([offering()])
    buy(ec2)
    assert try_out(ec2, ec2, REQUEST, now=lambda: NOW) is None
    assert "bought already: cr-1" in capsys.readouterr().err
    assert bought_times(ec2) == 1
