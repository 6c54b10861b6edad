from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.unit.capacity_fakes import NOW, START, FakeEc2, offering, refusal
from tests.unit.offerings_support import of_segments, of_ultraservers
from tests.unit.purchase_support import LOST, WANTED, Agreement, bought_times, buy, noted
from torchneuron.capacity_blocks import offerings
from torchneuron.capacity_blocks.intent import tags_for
from torchneuron.capacity_blocks.purchase import purchase, try_out
from torchneuron.core.errors import (
    AccessError,
    Declined,
    InputError,
    NotFoundError,
    PurchaseError,
    PurchaseUnknownError,
)

pytestmark = pytest.mark.usefixtures("state_dir")


def test_it_looks_first_then_asks_then_looks_again_and_buys_once():
    ec2, agreed = FakeEc2([offering()]), Agreement()
    reservation = buy(ec2, agreed=agreed)
    assert ec2.operations() == [
        "DescribeCapacityReservations",
        "DescribeCapacityBlockOfferings",
        "DescribeCapacityReservations",
        "PurchaseCapacityBlock",
        "DescribeCapacityReservations",
    ]
    assert [one.id for one in agreed.seen] == ["cb-1"]
    assert (reservation.id, reservation.state, reservation.count) == ("cr-1", "scheduled", 1)


def test_the_request_is_tagged_with_its_intent():
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


def test_the_price_of_a_purchase_that_makes_several_reservations_says_what_it_covers():
    def covers(offered):
        return tags_for(offered, "cb-1").get("torchneuron:upfront-fee-covers")

    assert covers(of_segments(("a", 4, 0, 24), ("b", 2, 0, 24))) == "6 instances in 2 segments"
    assert covers(of_ultraservers()) == "2 UltraServers"
    assert covers(replace(of_ultraservers(), ultraserver_count=1)) is None


def test_the_same_command_again_buys_nothing_even_when_the_offering_is_gone(capsys):
    ec2 = FakeEc2([offering()])
    first = buy(ec2)
    ec2.offerings.clear()
    agreed = Agreement()
    assert buy(ec2, agreed=agreed) == first
    assert bought_times(ec2) == 1
    assert agreed.seen == []
    assert "bought already: cr-1" in capsys.readouterr().err


def test_the_same_window_under_another_id_is_the_same_intent():
    ec2 = FakeEc2([offering()])
    buy(ec2)
    ec2.offerings = [offering("cb-new")]
    assert buy(ec2, replace(WANTED, offering_id="cb-new")).id == "cr-1"
    assert bought_times(ec2) == 1


def test_a_block_whose_payment_failed_can_be_bought_again():
    ec2 = FakeEc2([offering()])
    buy(ec2)
    ec2.reservations[0]["State"] = "payment-failed"
    assert buy(ec2).id == "cr-2"


def test_a_no_buys_nothing():
    ec2 = FakeEc2([offering()])
    with pytest.raises(Declined):
        buy(ec2, agreed=Agreement(answer=False))
    assert bought_times(ec2) == 0


def test_an_offering_that_is_gone_is_not_bought():
    ec2 = FakeEc2([])
    with pytest.raises(NotFoundError):
        buy(ec2)
    assert bought_times(ec2) == 0


def test_another_start_than_the_offerings_is_refused_with_both_named():
    ec2 = FakeEc2([offering()])
    with pytest.raises(InputError) as refused:
        buy(ec2, replace(WANTED, start_time=START + timedelta(hours=1)))
    assert "2026-01-12 12:30 UTC" in refused.value.what
    assert "--start-time 2026-01-12T11:30:00Z" in refused.value.do
    assert bought_times(ec2) == 0


def test_a_price_that_rose_since_it_was_shown_is_refused():
    (before,) = offerings.search(FakeEc2([offering(fee="50")]), WANTED.search)
    ec2 = FakeEc2([offering(fee="60")])
    with pytest.raises(InputError, match="dearer") as refused:
        buy(ec2, replace(WANTED, shown=before))
    assert "50" in refused.value.why
    assert "60" in refused.value.why
    assert bought_times(ec2) == 0


@pytest.mark.parametrize("lost", LOST, ids=lambda lost: type(lost).__name__)
def test_a_lost_answer_is_settled_by_looking(lost):
    ec2 = FakeEc2([offering()])
    ec2.lose = lost
    assert buy(ec2).id == "cr-1"
    assert bought_times(ec2) == 1


def test_a_lost_answer_is_looked_for_until_it_shows():
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
def test_a_purchase_that_stays_unseen_is_unknown_and_says_what_will_tell(lost):
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
def test_a_request_that_was_turned_away_is_not_bought(error):
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
def test_a_refusal_says_that_nothing_was_bought_and_why(code, kind, words):
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


def test_it_waits_until_the_payment_is_through():
    ec2 = FakeEc2([offering()])
    slept: list[float] = []
    ec2.state_when_bought = "payment-pending"
    pay_after(ec2, 3, "scheduled")
    assert buy(ec2, sleep=slept.append).state == "scheduled"
    assert len(slept) == 3
    assert slept == sorted(slept)


def test_a_failed_payment_is_an_error_that_says_what_it_means():
    ec2 = FakeEc2([offering()])
    ec2.state_when_bought = "payment-pending"
    pay_after(ec2, 1, "payment-failed")
    with pytest.raises(PurchaseError, match="cr-1 is lost: the payment failed") as failed:
        buy(ec2)
    assert "released" in failed.value.why


def test_a_block_that_could_not_be_given_is_not_told_as_a_failed_payment():
    ec2 = FakeEc2([offering()])
    ec2.state_when_bought = "payment-pending"
    pay_after(ec2, 1, "failed")
    with pytest.raises(PurchaseError, match="cr-1 is lost: failed: nothing was reserved") as failed:
        buy(ec2)
    assert "payment" not in str(failed.value)


def test_a_slow_payment_lets_the_person_go_with_the_block_theirs():
    ec2 = FakeEc2([offering()])
    slept: list[float] = []
    ec2.state_when_bought = "payment-pending"
    assert buy(ec2, sleep=slept.append).state == "payment-pending"
    assert 1800 <= sum(slept) < 1830


def test_a_block_not_yet_visible_to_describe_is_waited_for():
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


def test_what_was_bought_while_the_person_was_asked_is_not_bought_again(capsys):
    ec2 = FakeEc2([offering()])

    def answer_late(_):
        assert buy(ec2, replace(WANTED, offering_id="cb-1", state_dir=Path("a-teammates"))).id == "cr-1"
        return True

    assert buy(ec2, agreed=answer_late).id == "cr-1"
    assert bought_times(ec2) == 1
    assert "bought already: cr-1" in capsys.readouterr().err


def test_the_same_window_bought_under_another_id_while_the_person_was_asked_is_not_bought_again():
    ec2 = FakeEc2([offering(), offering("cb-2")])

    def answer_late(_):
        buy(ec2, replace(WANTED, offering_id="cb-2", state_dir=Path("a-teammates")))
        return True

    assert buy(ec2, agreed=answer_late).id == "cr-1"
    assert bought_times(ec2) == 1


def answering(ec2, change):
    """Let the purchase take effect, and its answer be `change`d."""
    send = ec2.purchase_capacity_block
    ec2.purchase_capacity_block = lambda **request: change(send(**request))


@pytest.mark.parametrize("member", ["AvailabilityZone", "State", "StartDate", "InstanceType", "Tags", "EndDate"])
def test_an_answer_with_an_id_is_a_block_bought_whatever_else_it_lacks(member, capsys):
    ec2 = FakeEc2([offering()])
    answering(ec2, lambda answer: {"CapacityReservation": without(answer["CapacityReservation"], member)})
    assert buy(ec2).id == "cr-1"
    assert "Bought: cr-1." in capsys.readouterr().err


@pytest.mark.parametrize(
    "answer",
    [{}, {"CapacityReservation": {}}, {"CapacityReservation": None}, {"CapacityReservation": {"State": "scheduled"}}],
)
def test_an_answer_that_names_no_block_is_settled_by_looking(answer):
    ec2 = FakeEc2([offering()])
    answering(ec2, lambda _: answer)
    assert buy(ec2).id == "cr-1"
    assert bought_times(ec2) == 1


def test_looks_that_make_no_sense_end_as_unknown():
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


def test_a_price_above_the_limit_is_refused_and_one_within_it_is_not():
    ec2 = FakeEc2([offering()])
    with pytest.raises(InputError, match=r"costs 53\.64 USD, more than --max-price 53"):
        buy(ec2, replace(WANTED, max_price=Decimal("53")))
    assert bought_times(ec2) == 0
    assert buy(ec2, replace(WANTED, max_price=Decimal("53.64"))).id == "cr-1"


def test_a_limit_is_an_answer_to_a_price_that_rose():
    (before,) = offerings.search(FakeEc2([offering(fee="50")]), WANTED.search)
    assert buy(FakeEc2([offering(fee="60")]), replace(WANTED, shown=before, max_price=Decimal("60"))).id == "cr-1"


def several_made(ec2):
    """Let one purchase make two reservations, as an offering of two zones does."""
    send = ec2.purchase_capacity_block

    def send_for_two(**request):
        first = send(**request)["CapacityReservation"]
        second = {**first, "CapacityReservationId": "cr-2", "AvailabilityZone": "sa-east-1c"}
        ec2.reservations.append(second)
        return {"CapacityReservation": first, "CapacityReservations": [first, second]}

    ec2.purchase_capacity_block = send_for_two


def buy_all(ec2, sleep=lambda _: None):
    return purchase(ec2, ec2, WANTED, agreed=Agreement(), sleep=sleep, now=lambda: NOW)


def test_every_reservation_of_one_purchase_is_told_and_found_again():
    ec2 = FakeEc2([offering()])
    several_made(ec2)
    assert [one.id for one in buy_all(ec2)] == ["cr-1", "cr-2"]
    assert [one.id for one in buy_all(ec2)] == ["cr-1", "cr-2"]
    assert bought_times(ec2) == 1


def test_all_of_a_purchase_is_waited_for_until_it_is_paid():
    ec2 = FakeEc2([offering()])
    slept: list[float] = []
    ec2.state_when_bought = "payment-pending"
    several_made(ec2)

    def pay_one_by_one():
        for index, one in enumerate(ec2.reservations):
            if len(slept) > index + 1:
                one["State"] = "scheduled"

    ec2.on_describe = pay_one_by_one
    assert [one.state for one in buy_all(ec2, sleep=slept.append)] == ["scheduled", "scheduled"]
    assert len(slept) == 3


def test_a_dry_run_sends_the_request_as_one_and_buys_nothing(capsys):
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = refusal("DryRunOperation", status=412), True
    tried = try_out(ec2, ec2, WANTED, now=lambda: NOW)
    assert tried.id == "cb-1"
    assert dict(ec2.calls)["PurchaseCapacityBlock"]["DryRun"] is True
    assert ec2.reservations == []
    assert noted() == []


@pytest.mark.parametrize(
    ("code", "kind"), [("UnauthorizedOperation", AccessError), ("InvalidCapacityBlockOfferingIdExpired", PurchaseError)]
)
def test_a_dry_run_says_what_the_purchase_would_have_said(code, kind):
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = refusal(code), True
    with pytest.raises(kind, match="Nothing was bought"):
        try_out(ec2, ec2, WANTED, now=lambda: NOW)


def test_a_dry_run_that_was_taken_for_the_real_thing_is_not_told_as_nothing_bought():
    with pytest.raises(PurchaseUnknownError, match="taken the dry run for the real thing") as unknown:
        try_out(FakeEc2([offering()]), FakeEc2([offering()]), WANTED, now=lambda: NOW)
    assert "aws ec2 describe-capacity-reservations" in unknown.value.do


def test_a_dry_run_of_what_was_bought_already_says_so(capsys):
    ec2 = FakeEc2([offering()])
    buy(ec2)
    assert try_out(ec2, ec2, WANTED, now=lambda: NOW) is None
    assert "bought already: cr-1" in capsys.readouterr().err
    assert bought_times(ec2) == 1
