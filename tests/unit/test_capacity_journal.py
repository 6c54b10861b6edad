import stat
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.exactly_once import Killed
from tests.unit.capacity_fakes import NOW, START, FakeEc2, offering, refusal
from tests.unit.purchase_support import INTENT, LOST, WANTED, Agreement, bought_times, buy, noted
from torchneuron.capacity_blocks.journal import PATIENCE
from torchneuron.core.errors import InputError, PurchaseError, PurchaseUnknownError

pytestmark = pytest.mark.usefixtures("state_dir")


def test_a_purchase_is_noted_privately_before_it_is_sent_and_struck_out_after():
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
    assert "until 09:20:00 UTC" in unknown.value.why
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
    ec2, both_answered, bought = FakeEc2([offering()]), threading.Barrier(2, timeout=60), []
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
        terminal.join(timeout=120)
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
