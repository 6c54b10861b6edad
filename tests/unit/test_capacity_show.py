import time
from datetime import datetime, timezone

import pytest

from tests.unit.capacity_fakes import REGION, FakeEc2, offering, reservation
from torchneuron.capacity_blocks import offerings, reservations, show
from torchneuron.capacity_blocks.offerings import SearchRequest
from torchneuron.errors import InputError

REQUEST = SearchRequest("trn2.3xlarge", 24, 1, REGION)


@pytest.fixture
def in_zone(monkeypatch):
    def put(zone):
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield put
    monkeypatch.undo()
    time.tzset()


def test_times_are_shown_in_utc_and_local(in_zone):
    noon = datetime(2026, 1, 31, 23, 30, tzinfo=timezone.utc)
    in_zone("UTC")
    assert show.when(noon) == "2026-01-31 23:30 UTC"
    in_zone("BRT+3")
    assert show.when(noon) == "2026-01-31 23:30 UTC (20:30 BRT)"
    in_zone("CET-1")
    assert show.when(noon) == "2026-01-31 23:30 UTC (2026-02-01 00:30 CET)"


def test_a_search_ends_with_the_command_that_buys_the_first(capsys, in_zone):
    in_zone("UTC")
    show.found(offerings.search(FakeEc2([offering("cb-2", fee="60"), offering("cb-1")]), REQUEST), REQUEST)
    out = capsys.readouterr().out
    assert "1 x trn2.3xlarge for 1 day in sa-east-1" in out
    assert "53.64 USD" in out
    assert "2026-01-13 11:00 UTC" in out
    assert out.index("cb-1") < out.index("cb-2")
    assert "invoke cb.purchase --offering-id cb-1 --start-time 2026-01-12T11:30:00Z -r sa-east-1\n" in out


def test_an_empty_search_says_so(capsys):
    show.found([], REQUEST)
    assert "No Capacity Block on sale: 1 x trn2.3xlarge for 1 day in sa-east-1." in capsys.readouterr().out


def test_the_price_is_shown_before_a_yes_counts(capsys):
    (block,) = offerings.search(FakeEc2([offering()]), REQUEST)
    assert show.agreement(yes=True)(block)
    assert "53.64 USD, paid now, 2.28 a usable hour" in capsys.readouterr().out


def test_nobody_there_to_say_yes_is_refused_with_the_price(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: PTH123, SIM115 - closed with the test
    (block,) = offerings.search(FakeEc2([offering()]), REQUEST)
    with pytest.raises(InputError) as refused:
        show.agreement(yes=False)(block)
    assert "53.64 USD" in refused.value.why
    assert "--yes" in refused.value.do


def test_a_purchase_ends_with_what_was_bought_until_when(capsys, in_zone):
    in_zone("UTC")
    ec2 = FakeEc2()
    ec2.reservations = [reservation(state="payment-pending")]
    show.bought(reservations.describe(ec2, REGION, "cr-1"))
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        "cr-1 is yours: 1 x trn2.3xlarge in sa-east-1b, 2026-01-12 11:30 UTC to 2026-01-13 11:00 UTC;"
        " payment under way, starts in 2 d 2 h."
    )
    assert "12 hours" in second


def test_a_list_counts_down_and_shows_what_is_free(capsys, in_zone):
    in_zone("UTC")
    ec2 = FakeEc2()
    ec2.reservations = [reservation(state="scheduled")]
    show.listed(reservations.list_blocks(ec2, REGION), REGION)
    out = capsys.readouterr().out
    assert "0/1" in out
    assert "starts in 2 d 2 h" in out


def test_an_empty_list_says_so(capsys):
    show.listed([], REGION)
    assert capsys.readouterr().out == "No Capacity Block in sa-east-1.\n"


def test_one_block_in_full_has_every_tag_and_both_ends(capsys, in_zone):
    in_zone("UTC")
    ec2 = FakeEc2()
    ec2.reservations = [
        reservation(
            Tags=[
                {"Key": "torchneuron:upfront-fee", "Value": "53.64 USD"},
                {"Key": "Team", "Value": "[red]"},
            ]
        )
    ]
    show.described(reservations.describe(ec2, REGION, "cr-1"))
    out = capsys.readouterr().out
    for text in ("2026-01-13 11:00 UTC", "2026-01-13 11:30 UTC", "53.64 USD", "Team = [red]"):
        assert text in out
