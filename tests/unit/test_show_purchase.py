import pytest

from tests.unit import golden
from tests.unit.capacity_fakes import REGION, FakeEc2, offering, reservation
from tests.unit.offerings_support import block
from torchneuron.aws.account import Account
from torchneuron.capacity_blocks import offerings, reservations, show_purchase
from torchneuron.capacity_blocks.rules import SearchRequest
from torchneuron.core.errors import InputError

ACCOUNT = Account("123456789012", "ml-team", "arn:aws:iam::123456789012:user/dev", "profile work (SSO)")
REQUEST = SearchRequest("trn2.3xlarge", 24, 1, REGION)


def test_price_is_shown_before_the_question(capsys):
    (block,) = offerings.search(FakeEc2([offering()]), REQUEST)
    assert show_purchase.confirm_purchase(ACCOUNT, yes=True)(block)
    assert "53.64 USD, paid now, 2.28 per usable hour" in capsys.readouterr().out


def test_purchase_without_a_terminal_is_refused_with_the_price(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: PTH123, SIM115 - closed with the test
    (block,) = offerings.search(FakeEc2([offering()]), REQUEST)
    with pytest.raises(InputError) as refused:
        show_purchase.confirm_purchase(ACCOUNT, yes=False)(block)
    assert "53.64 USD" in refused.value.why
    assert "--yes" in refused.value.do


def test_result_names_the_block_and_its_times(capsys, in_zone):
    in_zone("UTC")
    ec2 = FakeEc2()
    ec2.reservations = [reservation(state="payment-pending")]
    show_purchase.show_bought(reservations.describe(ec2, REGION, "cr-1"))
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        "cr-1 is yours: 1 x trn2.3xlarge in sa-east-1b, 2026-01-12 11:30 UTC to 2026-01-13 11:00 UTC;"
        " payment pending, starts in 2 d 2 h."
    )
    assert "12 hours" in second


@pytest.mark.parametrize(
    ("name", "offering"),
    [
        ("one", block()),
        ("local-zone", block(zone="us-east-1-dfw-2a", zone_type="local-zone")),
    ],
)
def test_question_matches_the_golden_file(in_zone, name, offering):
    in_zone("America/Sao_Paulo")
    approve = show_purchase.confirm_purchase(ACCOUNT, yes=True)
    golden.check(f"purchase-{name}.txt", golden.printed(lambda: approve(offering)))
