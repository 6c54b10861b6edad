import stat
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.exactly_once import Killed
from tests.unit.capacity_fakes import NOW, START, FakeEc2, offering, refusal
from tests.unit.purchase_support import INTENT, LOST, REQUEST, Approval, bought_times, buy, noted
from torchneuron.capacity_blocks.once import SETTLE_TIME
from torchneuron.core.errors import InputError, PurchaseError, PurchaseUnknownError

pytestmark = pytest.mark.usefixtures("state_dir")


def test_purchase_is_recorded_privately_before_it_is_sent_and_cleared_after():
    ec2 = FakeEc2([offering()])
    modes: list[int] = []
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


def test_run_after_a_kill_finds_what_was_bought(capsys):
    ec2 = killed_while_sending(arrived=True)
    assert buy(ec2).id == "cr-1"
    assert bought_times(ec2) == 1
    assert "bought already: cr-1" in capsys.readouterr().err
    assert noted() == []


@pytest.mark.parametrize("on_sale", [[offering()], [offering("cb-new")], []], ids=["same", "new-id", "gone"])
def test_run_after_a_kill_sends_nothing_while_the_block_does_not_show(on_sale):
    ec2 = killed_while_sending(arrived=True)
    hidden, ec2.reservations, ec2.offerings = ec2.reservations, [], on_sale
    approve = Approval()
    with pytest.raises(PurchaseUnknownError, match="still not known whether cb-1 was bought") as unknown:
        buy(ec2, approve=approve)
    assert approve.seen == []
    assert "sent from this machine at 09:00:00 UTC" in unknown.value.why
    assert "until 09:20:00 UTC" in unknown.value.why
    assert "aws ec2 describe-capacity-reservations --region sa-east-1" in unknown.value.do
    assert INTENT in unknown.value.do
    ec2.reservations = hidden
    assert buy(ec2).id == "cr-1"
    assert bought_times(ec2) == 1


def test_unknown_window_is_refused_under_any_id_until_it_settles():
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = LOST[0], True
    with pytest.raises(PurchaseUnknownError):
        buy(ec2)
    ec2.lose, ec2.offerings = None, [offering("cb-new")]
    again = replace(REQUEST, offering_id="cb-new")
    for at in (NOW, NOW + SETTLE_TIME - timedelta(seconds=1)):
        with pytest.raises(PurchaseUnknownError, match="still not known"):
            buy(ec2, again, at=at)
    assert bought_times(ec2) == 1
    assert buy(ec2, again, at=NOW + SETTLE_TIME).id == "cr-1"
    assert noted() == []


def test_new_block_that_does_not_show_yet_is_not_bought_again():
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


def test_unknown_purchase_does_not_block_another():
    ec2 = killed_while_sending(arrived=False)
    ec2.offerings.append(offering("cb-2", start=START + timedelta(days=1)))
    assert buy(ec2, replace(REQUEST, offering_id="cb-2")).id == "cr-1"
    assert len(noted()) == 1


def test_refused_purchase_can_be_sent_again_at_once():
    ec2 = FakeEc2([offering()])
    ec2.lose, ec2.lose_before = refusal("RequestLimitExceeded", status=503), True
    with pytest.raises(PurchaseError, match="Nothing was bought"):
        buy(ec2)
    ec2.lose = None
    assert buy(ec2).id == "cr-1"


def test_two_terminals_approved_at_once_buy_once():
    ec2, both_answered, bought = FakeEc2([offering()]), threading.Barrier(2, timeout=60), []
    send = ec2.purchase_capacity_block

    def send_slowly(**request):
        time.sleep(0.2)  # long enough for the other to look, if the lock failed
        return send(**request)

    ec2.purchase_capacity_block = send_slowly

    def approve(_):
        both_answered.wait()
        return True

    terminals = [threading.Thread(target=lambda: bought.append(buy(ec2, approve=approve).id)) for _ in range(2)]
    for terminal in terminals:
        terminal.start()
    for terminal in terminals:
        terminal.join(timeout=120)
    assert bought == ["cr-1", "cr-1"]
    assert bought_times(ec2) == 1


def test_purchase_that_cannot_be_recorded_is_not_sent():
    ec2 = FakeEc2([offering()])
    Path("state").write_text("not a folder")
    with pytest.raises(InputError, match="Nothing was bought now") as refused:
        buy(ec2)
    assert "stateDir" in refused.value.do
    assert bought_times(ec2) == 0


def test_unreadable_record_is_not_ignored():
    ec2 = FakeEc2([offering()])
    Path("state").mkdir()
    Path("state/purchase-0.json").write_text("{")
    with pytest.raises(InputError, match=r"purchase-0\.json is not readable"):
        buy(ec2)
    assert bought_times(ec2) == 0
