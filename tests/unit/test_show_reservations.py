from tests.unit.capacity_fakes import REGION, FakeEc2, reservation
from torchneuron.capacity_blocks import reservations, show_reservations


def test_a_list_counts_down_and_shows_what_is_free(capsys, in_zone):
    in_zone("UTC")
    ec2 = FakeEc2()
    ec2.reservations = [reservation(state="scheduled")]
    show_reservations.listed(reservations.list_blocks(ec2, REGION), REGION)
    out = capsys.readouterr().out
    assert "0/1" in out
    assert "starts in 2 d 2 h" in out


def test_an_empty_list_says_so(capsys):
    show_reservations.listed([], REGION)
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
    show_reservations.described(reservations.describe(ec2, REGION, "cr-1"))
    out = capsys.readouterr().out
    for text in ("2026-01-13 11:00 UTC", "2026-01-13 11:30 UTC", "53.64 USD", "Team = [red]"):
        assert text in out
