from datetime import timedelta
from decimal import Decimal

import pytest

from tests.exactly_once import Killed
from tests.fakes import StandIn
from tests.unit import golden
from tests.unit.capacity_fakes import NOW, REGION, START, refusal, reservation
from tests.unit.unreliable_ec2 import END, EXTENSION_OFFERING, RESERVATION, UnreliableEc2
from torchneuron.aws.account import Account
from torchneuron.capacity_blocks import show_purchase
from torchneuron.capacity_blocks.extend import ExtensionRequest, extend, try_out
from torchneuron.capacity_blocks.once import SETTLE_TIME
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
    def buy(ec2, hours=24, approve=None, max_price=None, report=None):
        request = ExtensionRequest(RESERVATION, REGION, hours, tmp_path, max_price)
        approve, reported = approve or (lambda _: True), []

        def record(extension, block):
            reported.append(extension)
            if report:
                report(extension, block)

        extend(ec2, ec2, request, approve=approve, report=record, sleep=ec2.sleep, now=lambda: ec2.now)
        return reported[0]

    return buy


def test_question_shows_the_offering_from_the_end_of_the_block_with_its_price(ec2, buy):
    asked = []

    def approve(offering):
        asked.append(offering)
        return True

    bought = buy(ec2, approve=approve)
    (offering,) = asked
    assert (offering.start, offering.end, offering.fee) == (END, END + timedelta(hours=24), Decimal("53.64"))
    assert offering.block.id == RESERVATION
    assert (bought.offering_id, bought.status) == (EXTENSION_OFFERING, "payment-succeeded")
    assert ec2.sent == 1


def test_declined_extension_is_not_bought(ec2, buy):
    with pytest.raises(Declined, match="Nothing was bought"):
        buy(ec2, approve=lambda _: False)
    assert ec2.sent == 0


def test_duration_that_is_not_sold_is_refused_before_any_call(buy):
    with pytest.raises(InputError, match="no Capacity Block of 25 hours"):
        buy(UnreliableEc2(["killed-before"]), hours=25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"State": "expired"}, "only a block that is scheduled or active"),
        ({"State": "payment-pending"}, "is payment-pending"),
        ({"ReservationType": "default"}, "is not a Capacity Block"),
        ({"EndDate": NOW + timedelta(minutes=59), "State": "active"}, "can no longer be extended"),
        ({"EndDate": NOW + timedelta(days=57)}, "cannot be extended yet"),
    ],
)
def test_block_that_cannot_be_extended_is_refused_before_a_quote(ec2, buy, changes, message):
    ec2.block = reservation(RESERVATION, **{"State": "scheduled", **changes})
    with pytest.raises(InputError, match=message):
        buy(ec2)
    assert ec2.sent == 0


@pytest.mark.parametrize("before_end", [timedelta(hours=1), timedelta(days=56)])
def test_extension_window_includes_both_ends(ec2, buy, before_end):
    ec2.block = reservation(RESERVATION, state="active", StartDate=START, EndDate=NOW + before_end)
    with pytest.raises(InputError, match="has been extended in the meantime"):  # the fake's offering has another start
        buy(ec2)


def test_extension_that_is_not_on_sale_suggests_a_search(buy):
    with pytest.raises(NotFoundError) as missing:
        buy(NoneOnSale([]))
    assert "no extension of 1 day on sale" in missing.value.what
    assert "invoke cb.search" in missing.value.do


def test_price_above_the_limit_is_refused(ec2, buy):
    with pytest.raises(InputError, match=r"cost 53\.64 USD, more than --max-price 50"):
        buy(ec2, max_price=Decimal(50))
    assert buy(ec2, max_price=Decimal("53.64")).status == "payment-succeeded"


def test_extension_can_be_bought_again_after_a_failed_payment(ec2, buy):
    ec2.fails_to_pay = True
    with pytest.raises(PurchaseError, match="was not extended: the payment failed") as failed:
        buy(ec2)
    assert "2026-01-13 11:30 UTC" in failed.value.why
    ec2.fails_to_pay = False
    assert buy(ec2).status == "payment-succeeded"


def test_extension_is_refused_while_the_payment_of_another_is_pending(ec2, buy):
    ec2.payments = 1000
    assert buy(ec2).status == "payment-pending"
    with pytest.raises(InputError, match="The payment of an earlier extension"):
        buy(ec2, hours=48)
    assert ec2.sent == 1


def test_extension_with_a_pending_payment_is_not_bought_again(ec2, buy, capsys):
    ec2.payments = 1000
    buy(ec2)
    ec2.payments = 3
    assert buy(ec2).status == "payment-succeeded"
    assert ec2.sent == 1
    assert "was bought already and is being paid" in capsys.readouterr().err


def test_run_after_a_kill_reports_the_extension_and_buys_nothing(ec2, buy, capsys):
    ec2.outcomes = ["ok"] * 5 + ["killed-after"]
    with pytest.raises(Killed):
        buy(ec2)
    ec2.sleep(86_400)
    assert buy(ec2).offering_id == EXTENSION_OFFERING
    assert "was bought already (payment-succeeded)" in capsys.readouterr().err
    assert ec2.sent == 1


def test_lost_request_is_unknown_and_sent_again_after_the_settle_time(ec2, buy):
    ec2.outcomes = ["ok"] * 5 + ["lost-before"]
    with pytest.raises(PurchaseUnknownError, match="not known whether") as unknown:
        buy(ec2)
    assert "aws ec2 describe-capacity-block-extension-history" in unknown.value.do
    assert EXTENSION_OFFERING in unknown.value.do
    with pytest.raises(PurchaseUnknownError, match="still not known"):
        buy(ec2)
    assert ec2.sent == 1
    ec2.sleep(SETTLE_TIME.total_seconds())
    assert buy(ec2).status == "payment-succeeded"
    assert ec2.sent == 2


def test_block_that_a_colleague_extended_during_the_question_is_not_extended(ec2, buy, tmp_path):
    def answer_late(*_):
        request = ExtensionRequest(RESERVATION, REGION, 24, tmp_path / "colleague")
        extend(ec2, ec2, request, approve=lambda _: True, report=lambda *_: None, sleep=ec2.sleep, now=lambda: ec2.now)
        return True

    with pytest.raises(InputError, match="has been extended in the meantime"):
        buy(ec2, approve=answer_late)
    assert ec2.sent == 1


@pytest.mark.parametrize(
    ("outcome", "kind"), [("denied", AccessError), ("throttled", PurchaseError), ("unreachable", PurchaseError)]
)
def test_refused_request_bought_nothing_and_can_be_sent_at_once(ec2, buy, outcome, kind):
    ec2.outcomes = ["ok"] * 5 + [outcome]
    with pytest.raises(kind, match="Nothing was bought"):
        buy(ec2)
    assert buy(ec2).status == "payment-succeeded"


def test_dry_run_sends_a_dry_run_request_and_buys_nothing(ec2, tmp_path):
    sent = []

    class Once(StandIn):
        def purchase_capacity_block_extension(self, **request):
            sent.append(request)
            raise refusal("DryRunOperation", status=412)

    request = ExtensionRequest(RESERVATION, REGION, 24, tmp_path)
    offering = try_out(ec2, Once(), request, now=lambda: ec2.now)
    assert offering
    assert (offering.id, offering.block.id) == (EXTENSION_OFFERING, RESERVATION)
    assert sent[0]["DryRun"] is True
    assert list(tmp_path.iterdir()) == []


def test_question_names_both_ends_and_the_price(ec2, buy, in_zone):
    in_zone("UTC")
    golden.check(
        "extend-asked.txt", golden.printed(lambda: buy(ec2, approve=show_purchase.confirm_extension(ACCOUNT, yes=True)))
    )


@pytest.mark.parametrize(("payments", "name"), [(0, "paid"), (1000, "pending")])
def test_result_names_the_end_that_applies_now(ec2, buy, in_zone, payments, name):
    in_zone("UTC")
    ec2.payments = payments
    golden.check(f"extend-{name}.txt", golden.printed(lambda: buy(ec2, report=show_purchase.show_extended)))


@pytest.mark.parametrize("stopped", [KeyboardInterrupt(), Killed()])
def test_run_after_an_interrupted_report_reports_and_buys_nothing(ec2, buy, stopped):
    def stop(*_):
        raise stopped

    with pytest.raises(type(stopped)):
        buy(ec2, report=stop)
    assert buy(ec2).offering_id == EXTENSION_OFFERING
    assert ec2.sent == 1


def test_error_after_the_report_does_not_block_the_next_extension(ec2, buy, tmp_path):
    def fail(*_):
        raise PurchaseError("not saved")

    with pytest.raises(PurchaseError, match="not saved"):
        buy(ec2, report=fail)
    assert list(tmp_path.glob("purchase-*.json")) == []


def test_unreported_extension_of_another_duration_is_not_taken_for_the_requested_one(ec2, buy):
    def stop(*_):
        raise Killed

    with pytest.raises(Killed):
        buy(ec2, report=stop)
    with pytest.raises(InputError, match="by 1 day was bought already") as refused:
        buy(ec2, hours=168)
    assert "7 days as well, run the same command again" in refused.value.do
    assert ec2.sent == 1
