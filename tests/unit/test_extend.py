from datetime import timedelta
from decimal import Decimal

import pytest

from tests.exactly_once import Killed
from tests.fakes import StandIn
from tests.unit import golden
from tests.unit.capacity_fakes import NOW, REGION, START, refusal, reservation
from tests.unit.unreliable_ec2 import END, EXTENSION_OFFERING, RESERVATION, UnreliableEc2
from torchneuron.aws.account import Account
from torchneuron.capacity_blocks import show_extension
from torchneuron.capacity_blocks.extend import WantedExtension, extend, try_out
from torchneuron.capacity_blocks.journal import PATIENCE
from torchneuron.core.errors import (
    AccessError,
    Declined,
    InputError,
    NotFoundError,
    PurchaseError,
    PurchaseUnknownError,
)

ACCOUNT = Account("123456789012", "", "arn:aws:iam::123456789012:user/dev", "instance role")


class NoneOnSale(UnreliableEc2):
    def _pages_of_describe_capacity_block_extension_offerings(self, **_):
        return iter([{"CapacityBlockExtensionOfferings": []}])


@pytest.fixture
def ec2():
    return UnreliableEc2([])


@pytest.fixture
def buy(tmp_path):
    def buy(ec2, hours=24, agreed=None, max_price=None, told_too=None):
        wanted = WantedExtension(RESERVATION, REGION, hours, tmp_path, max_price)
        agreed, said = agreed or (lambda *_: True), []

        def told(extension, block):
            said.append(extension)
            if told_too:
                told_too(extension, block)

        extend(ec2, ec2, wanted, agreed=agreed, told=told, sleep=ec2.sleep, now=lambda: ec2.now)
        return said[0]

    return buy


def test_an_extension_starts_at_the_end_and_is_asked_about_with_its_price(ec2, buy):
    asked = []

    def agree(offering, block):
        asked.append((offering, block))
        return True

    bought = buy(ec2, agreed=agree)
    ((offering, block),) = asked
    assert (offering.start, offering.end, offering.fee) == (END, END + timedelta(hours=24), Decimal("53.64"))
    assert block.id == RESERVATION
    assert (bought.offering_id, bought.status) == (EXTENSION_OFFERING, "payment-succeeded")
    assert ec2.sent == 1


def test_a_no_buys_nothing(ec2, buy):
    with pytest.raises(Declined, match="Nothing was bought"):
        buy(ec2, agreed=lambda *_: False)
    assert ec2.sent == 0


def test_a_duration_that_is_not_sold_is_refused_before_any_call(buy):
    with pytest.raises(InputError, match="no Capacity Block of 25 hours"):
        buy(UnreliableEc2(["killed-before"]), hours=25)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"State": "expired"}, "only a block that is scheduled or active"),
        ({"State": "payment-pending"}, "is payment-pending"),
        ({"ReservationType": "default"}, "is not a Capacity Block"),
        ({"EndDate": NOW + timedelta(minutes=59), "State": "active"}, "can no longer be extended"),
        ({"EndDate": NOW + timedelta(days=57)}, "cannot be extended yet"),
    ],
)
def test_a_block_that_cannot_be_extended_is_refused_before_the_price_is_asked(ec2, buy, changes, told):
    ec2.block = reservation(RESERVATION, **{"State": "scheduled", **changes})
    with pytest.raises(InputError, match=told):
        buy(ec2)
    assert ec2.sent == 0


@pytest.mark.parametrize("before_end", [timedelta(hours=1), timedelta(days=56)])
def test_the_window_includes_both_of_its_ends(ec2, buy, before_end):
    ec2.block = reservation(RESERVATION, state="active", StartDate=START, EndDate=NOW + before_end)
    with pytest.raises(InputError, match="has been extended meanwhile"):  # the fake's offering is for another end
        buy(ec2)


def test_no_extension_on_sale_says_what_else_can_be_done(buy):
    with pytest.raises(NotFoundError) as missing:
        buy(NoneOnSale([]))
    assert "no extension of 1 day on sale" in missing.value.what
    assert "invoke cb.search" in missing.value.do


def test_a_price_above_the_limit_is_refused(ec2, buy):
    with pytest.raises(InputError, match=r"cost 53\.64 USD, more than --max-price 50"):
        buy(ec2, max_price=Decimal(50))
    assert buy(ec2, max_price=Decimal("53.64")).status == "payment-succeeded"


def test_a_failed_payment_leaves_the_block_as_it_is_and_can_be_tried_again(ec2, buy):
    ec2.fails_to_pay = True
    with pytest.raises(PurchaseError, match="was not extended: the payment failed") as failed:
        buy(ec2)
    assert "2026-01-13 11:30 UTC" in failed.value.why
    ec2.fails_to_pay = False
    assert buy(ec2).status == "payment-succeeded"


def test_another_extension_still_being_paid_is_in_the_way(ec2, buy):
    ec2.payments = 1000
    assert buy(ec2).status == "payment-pending"
    with pytest.raises(InputError, match="is still being paid"):
        buy(ec2, hours=48)
    assert ec2.sent == 1


def test_the_same_extension_being_paid_already_is_not_bought_again(ec2, buy, capsys):
    ec2.payments = 1000
    buy(ec2)
    ec2.payments = 3
    assert buy(ec2).status == "payment-succeeded"
    assert ec2.sent == 1
    assert "was bought already and is being paid" in capsys.readouterr().err


def test_killed_after_it_was_sent_the_next_run_tells_and_buys_nothing(ec2, buy, capsys):
    ec2.outcomes = ["ok"] * 5 + ["killed-after"]
    with pytest.raises(Killed):
        buy(ec2)
    ec2.sleep(86_400)
    assert buy(ec2).offering_id == EXTENSION_OFFERING
    assert "was bought already (payment-succeeded)" in capsys.readouterr().err
    assert ec2.sent == 1


def test_a_request_that_stays_unseen_is_unknown_then_may_be_sent_again(ec2, buy):
    ec2.outcomes = ["ok"] * 5 + ["lost-before"]
    with pytest.raises(PurchaseUnknownError, match="not known whether") as unknown:
        buy(ec2)
    assert "aws ec2 describe-capacity-block-extension-history" in unknown.value.do
    assert EXTENSION_OFFERING in unknown.value.do
    with pytest.raises(PurchaseUnknownError, match="still not known"):
        buy(ec2)
    assert ec2.sent == 1
    ec2.sleep(PATIENCE.total_seconds())
    assert buy(ec2).status == "payment-succeeded"
    assert ec2.sent == 2


def test_what_was_extended_while_the_person_was_asked_is_not_extended_again(ec2, buy, tmp_path):
    def answer_late(*_):
        wanted = WantedExtension(RESERVATION, REGION, 24, tmp_path / "a-teammates")
        extend(ec2, ec2, wanted, agreed=lambda *_: True, told=lambda *_: None, sleep=ec2.sleep, now=lambda: ec2.now)
        return True

    with pytest.raises(InputError, match="has been extended meanwhile"):
        buy(ec2, agreed=answer_late)
    assert ec2.sent == 1


@pytest.mark.parametrize(
    ("outcome", "kind"), [("denied", AccessError), ("throttled", PurchaseError), ("unreachable", PurchaseError)]
)
def test_a_request_that_was_turned_away_bought_nothing_and_can_be_made_at_once(ec2, buy, outcome, kind):
    ec2.outcomes = ["ok"] * 5 + [outcome]
    with pytest.raises(kind, match="Nothing was bought"):
        buy(ec2)
    assert buy(ec2).status == "payment-succeeded"


def test_a_dry_run_asks_aws_and_buys_nothing(ec2, tmp_path):
    sent = []

    class Once(StandIn):
        def purchase_capacity_block_extension(self, **request):
            sent.append(request)
            raise refusal("DryRunOperation", status=412)

    wanted = WantedExtension(RESERVATION, REGION, 24, tmp_path)
    found = try_out(ec2, Once(), wanted, now=lambda: ec2.now)
    assert found
    offering, block = found
    assert (offering.id, block.id) == (EXTENSION_OFFERING, RESERVATION)
    assert sent[0]["DryRun"] is True
    assert list(tmp_path.iterdir()) == []


def test_the_question_names_both_ends_and_the_price(ec2, buy, in_zone):
    in_zone("UTC")
    golden.check(
        "extend-asked.txt", golden.printed(lambda: buy(ec2, agreed=show_extension.agreement(ACCOUNT, yes=True)))
    )


@pytest.mark.parametrize(("payments", "name"), [(0, "paid"), (1000, "pending")])
def test_the_last_word_names_the_end_that_counts_now(ec2, buy, in_zone, payments, name):
    in_zone("UTC")
    ec2.payments = payments
    golden.check(f"extend-{name}.txt", golden.printed(lambda: buy(ec2, told_too=show_extension.extended)))


@pytest.mark.parametrize("stopped", [KeyboardInterrupt(), Killed()])
def test_stopped_while_it_was_told_the_same_command_tells_it_and_buys_nothing(ec2, buy, stopped):
    def stop(*_):
        raise stopped

    with pytest.raises(type(stopped)):
        buy(ec2, told_too=stop)
    assert buy(ec2).offering_id == EXTENSION_OFFERING
    assert ec2.sent == 1


def test_what_fails_after_it_was_told_does_not_hold_up_the_next_extension(ec2, buy, tmp_path):
    def fail(*_):
        raise PurchaseError("not saved")

    with pytest.raises(PurchaseError, match="not saved"):
        buy(ec2, told_too=fail)
    assert list(tmp_path.glob("purchase-*.json")) == []


def test_one_of_another_length_that_was_never_told_is_not_taken_for_what_is_wanted(ec2, buy):
    def stop(*_):
        raise Killed

    with pytest.raises(Killed):
        buy(ec2, told_too=stop)
    with pytest.raises(InputError, match="by 1 day was bought already") as refused:
        buy(ec2, hours=168)
    assert "7 days as well, run the same command again" in refused.value.do
    assert ec2.sent == 1
