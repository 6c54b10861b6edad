from tests.unit.capacity_fakes import REGION, FakeEc2, offering
from torchneuron.capacity_blocks import offerings, show_offerings
from torchneuron.capacity_blocks.offerings import SearchRequest

REQUEST = SearchRequest("trn2.3xlarge", 24, 1, REGION)


def test_a_search_ends_with_the_command_that_buys_the_first(capsys, in_zone):
    in_zone("UTC")
    show_offerings.found(offerings.search(FakeEc2([offering("cb-2", fee="60"), offering("cb-1")]), REQUEST), REQUEST)
    out = capsys.readouterr().out
    assert "1 x trn2.3xlarge for 1 day in sa-east-1" in out
    assert "53.64 USD" in out
    assert "2026-01-13 11:00 UTC" in out
    assert out.index("cb-1") < out.index("cb-2")
    assert "invoke cb.purchase --offering-id cb-1 --start-time 2026-01-12T11:30:00Z -r sa-east-1\n" in out


def test_an_empty_search_says_so(capsys):
    show_offerings.found([], REQUEST)
    assert "No Capacity Block on sale: 1 x trn2.3xlarge for 1 day in sa-east-1." in capsys.readouterr().out
