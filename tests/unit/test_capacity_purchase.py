import stat
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from tests.unit.capacity_fakes import NOW, REGION, START, FakeEc2, offering, refusal
from torchneuron.capacity_blocks import offerings
from torchneuron.capacity_blocks.journal import PATIENCE
from torchneuron.capacity_blocks.offerings import SearchRequest
from torchneuron.capacity_blocks.purchase import purchase
from torchneuron.capacity_blocks.wanted import Wanted
from torchneuron.errors import (
    AccessError,
    Declined,
    InputError,
    NotFoundError,
    PurchaseError,
    PurchaseUnknownError,
)

WANTED = Wanted("cb-1", SearchRequest("trn2.3xlarge", 24, 1, REGION), "a-project", Path("state"))
INTENT = "trn2.3xlarge/1/sa-east-1b/2026-01-12T11:30Z/2026-01-13T11:30Z"
LOST = [
    ReadTimeoutError(endpoint_url="https://ec2"),
    refusal("InternalError", status=500),
    refusal("Unavailable", status=503),
    ResponseParserError("not XML"),
    ValueError("Invalid timestamp"),
    KeyboardInterrupt(),
]


class Killed(BaseException):
    """Nothing of ours runs after it, as after SIGKILL; locks are let go, as the kernel does."""


@pytest.fixture(autouse=True)
def _state_dir(tmp_path, monkeypatch):
    """`WANTED` keeps its journal in a folder of this test."""
    monkeypatch.chdir(tmp_path)


class Agreement:
    def __init__(self, answer=True):
        self.answer, self.seen = answer, []

    def __call__(self, quoted):
        self.seen.append(quoted)
        return self.answer


def buy(ec2, wanted=WANTED, agreed=None, sleep=lambda _: None, at=NOW):
    return purchase(ec2, ec2, wanted, agreed=agreed or Agreement(), sleep=sleep, now=lambda: at)


def bought_times(ec2):
    return ec2.operations().count("PurchaseCapacityBlock")


def noted():
    return sorted(Path("state").glob("purchase-*"))


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
    ec2, slept = FakeEc2([offering()]), []
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
    ec2, slept = FakeEc2([offering()]), []
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


def test_a_slow_payment_lets_the_person_go_with_the_block_theirs():
    ec2, slept = FakeEc2([offering()]), []
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


def test_a_purchase_is_noted_privately_before_it_is_sent_and_struck_out_after():
    ec2, modes = FakeEc2([offering()]), []
    send = ec2.purchase_capacity_block

    def look_then_send(**request):
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in noted())
        return send(**request)

    ec2.purchase_capacity_block = look_then_send
    buy(ec2)
    assert modes == [0o600]
    assert noted() == []


def killed_while_sending(*, arrived):
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = Killed(), not arrived
    with pytest.raises(Killed):
        buy(ec2)
    ec2.lose = None
    return ec2


def test_killed_after_the_request_the_next_run_finds_what_was_bought(capsys):
    ec2 = killed_while_sending(arrived=True)
    assert buy(ec2).id == "cr-1"
    assert bought_times(ec2) == 1
    assert "bought already: cr-1" in capsys.readouterr().err
    assert noted() == []


@pytest.mark.parametrize("on_sale", [[offering()], [offering("cb-new")], []], ids=["same", "anew", "gone"])
def test_killed_after_the_request_the_next_run_sends_nothing_while_the_block_does_not_show(on_sale):
    ec2 = killed_while_sending(arrived=True)
    hidden, ec2.reservations, ec2.offerings = ec2.reservations, [], on_sale
    agreed = Agreement()
    with pytest.raises(PurchaseUnknownError, match="still not known whether cb-1 was bought") as unknown:
        buy(ec2, agreed=agreed)
    assert agreed.seen == []
    assert "sent from this machine at 09:00:00 UTC" in unknown.value.why
    assert "until 09:10:00 UTC" in unknown.value.why
    assert "aws ec2 describe-capacity-reservations --region sa-east-1" in unknown.value.do
    assert INTENT in unknown.value.do
    ec2.reservations = hidden
    assert buy(ec2).id == "cr-1"
    assert bought_times(ec2) == 1


def test_after_unknown_the_same_window_is_refused_under_any_id_until_it_is_certain():
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = LOST[0], True
    with pytest.raises(PurchaseUnknownError):
        buy(ec2)
    ec2.lose, ec2.offerings = None, [offering("cb-new")]
    again = replace(WANTED, offering_id="cb-new")
    for at in (NOW, NOW + PATIENCE - timedelta(seconds=1)):
        with pytest.raises(PurchaseUnknownError, match="still not known"):
            buy(ec2, again, at=at)
    assert bought_times(ec2) == 1
    assert buy(ec2, again, at=NOW + PATIENCE).id == "cr-1"
    assert noted() == []


def test_what_was_just_bought_and_does_not_show_yet_is_not_bought_again():
    ec2, hidden = FakeEc2([offering()]), []

    def hide():
        hidden.extend(ec2.reservations)
        ec2.reservations = []

    ec2.on_describe = hide
    assert buy(ec2).id == "cr-1"
    with pytest.raises(PurchaseUnknownError):
        buy(ec2)
    ec2.on_describe, ec2.reservations = lambda: None, hidden
    assert buy(ec2).id == "cr-1"
    assert bought_times(ec2) == 1


def test_an_unknown_purchase_does_not_stand_in_the_way_of_another():
    ec2 = killed_while_sending(arrived=False)
    ec2.offerings.append(offering("cb-2", start=START + timedelta(days=1)))
    assert buy(ec2, replace(WANTED, offering_id="cb-2")).id == "cr-1"
    assert len(noted()) == 1


def test_a_purchase_that_was_turned_away_can_be_made_at_once():
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = refusal("RequestLimitExceeded", status=503), True
    with pytest.raises(PurchaseError, match="Nothing was bought"):
        buy(ec2)
    ec2.lose = None
    assert buy(ec2).id == "cr-1"


def test_two_terminals_that_are_answered_at_once_buy_once():
    ec2, both_answered, bought = FakeEc2([offering()]), threading.Barrier(2, timeout=10), []
    send = ec2.purchase_capacity_block

    def send_slowly(**request):
        time.sleep(0.2)  # long enough for the other to look, were it not kept out
        return send(**request)

    ec2.purchase_capacity_block = send_slowly

    def agreed(_):
        both_answered.wait()
        return True

    terminals = [threading.Thread(target=lambda: bought.append(buy(ec2, agreed=agreed).id)) for _ in range(2)]
    for terminal in terminals:
        terminal.start()
    for terminal in terminals:
        terminal.join(timeout=20)
    assert bought == ["cr-1", "cr-1"]
    assert bought_times(ec2) == 1


def test_nothing_is_sent_that_cannot_be_noted():
    ec2 = FakeEc2([offering()])
    Path("state").write_text("not a folder")
    with pytest.raises(InputError, match="Nothing was bought now") as refused:
        buy(ec2)
    assert "stateDir" in refused.value.do
    assert bought_times(ec2) == 0


def test_a_note_that_cannot_be_read_is_not_taken_for_none():
    ec2 = FakeEc2([offering()])
    Path("state").mkdir()
    Path("state/purchase-0.json").write_text("{")
    with pytest.raises(InputError, match=r"purchase-0\.json cannot be understood"):
        buy(ec2)
    assert bought_times(ec2) == 0


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
