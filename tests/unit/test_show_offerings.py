import re
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit import golden
from tests.unit.capacity_fakes import REGION
from tests.unit.offerings_support import block
from tests.unit.results_support import EVERYTHING, LIMITED, NOT_SOLD, NOTHING, ONE, RESULTS, SUGGESTED
from torchneuron.capacity_blocks import show_offerings
from torchneuron.capacity_blocks.query import Query
from torchneuron.core.errors import InputError

PROPOSAL = "  invoke cb.purchase --offering-id cb-0123456789abcdef0 --start-time 2026-01-12T11:30:00Z -r sa-east-1\n"


def shown(results, *, width=0, output="table"):
    return golden.printed(lambda: show_offerings.show(results, output), width=width)


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("width", [80, 120, 0])
def test_a_search_is_shown_as_it_was_read_by_a_person(name, width, in_zone):
    in_zone("BRT+3")
    golden.check(f"search-{name}-{width or 'piped'}.txt", shown(RESULTS[name], width=width))


@pytest.mark.parametrize("zone", ["UTC", "BRT+3", "CEST-2", "NZDT-13"])
@pytest.mark.parametrize("width", [80, 100, 120, 160, 200])
def test_no_line_but_the_command_is_wider_than_the_terminal(width, zone, in_zone):
    in_zone(zone)
    for name, results in RESULTS.items():
        lines = shown(results, width=width).splitlines()
        drawn = [line for line in lines if line.strip()[:1] in ("│", "┃", "┏", "├", "└") or line.startswith("cb-")]
        assert all(len(line) <= width for line in drawn), name
        # What is squeezed is broken in the middle of a date.
        assert not drawn or any(re.search(r"2026-01-1\d 11:30", line) for line in drawn), name


@pytest.mark.parametrize("width", [0, 40, 80])
def test_the_command_that_buys_the_first_is_one_line_whatever_the_width(width):
    assert PROPOSAL in shown(ONE, width=width)


def test_where_the_terminal_has_no_other_characters_the_timeline_is_ascii(monkeypatch):
    class Ascii(golden.Terminal):
        encoding = "ascii"

    lines = golden.printed(lambda: show_offerings.show(ONE), width=80, output=Ascii()).splitlines()
    assert all(line.isascii() for line in lines)
    assert any(re.match(r"cb-\w+ +#+$", line) for line in lines)


@pytest.mark.parametrize("output", ["table", "csv"])
def test_what_was_refused_is_told_beside_the_result(output, capsys):
    out = shown(EVERYTHING, output=output)
    assert "not sold" not in out
    assert capsys.readouterr().err == (
        "trn2.3xlarge is not sold in: us-east-2\n"
        "Not searched to the end in: us-east-2 (too many searches, or a quota of 0 in Service Quotas:"
        ' EC2, "Concurrent TRN2 Capacity Blocks per account", L-64569A79)\n'
    )


def test_json_has_the_refusals_and_nothing_is_told_beside_it(capsys):
    shown(EVERYTHING, output="json")
    assert capsys.readouterr().err == ""


def test_that_a_type_is_sold_in_some_regions_only_is_no_news_in_all_of_them(capsys):
    everywhere = replace(ONE, query=Query((), ("trn2.3xlarge",), (24,)), regions=(REGION, "us-east-2"))
    shown(replace(everywhere, refused=(NOT_SOLD,)))
    assert capsys.readouterr().err == ""
    shown(replace(everywhere, refused=(LIMITED,)))
    assert "Not searched to the end in: us-east-2" in capsys.readouterr().err


def test_a_type_sold_in_none_of_all_regions_is_told_in_few_words(capsys):
    regions = ("a", "b", "c", "d", REGION)
    query = Query((), ("inf2.xlarge", "trn2.3xlarge"), (24,))
    refused = [one for one in query.requests(regions) if one.what == "inf2.xlarge"]
    shown(replace(ONE, query=query, regions=regions, refused=tuple(replace(NOT_SOLD, request=one) for one in refused)))
    assert capsys.readouterr().err == "inf2.xlarge is not sold in: all 5 regions searched\n"


def test_the_ids_shown_are_those_given_back():
    assert show_offerings.show(EVERYTHING) == list(EVERYTHING.offerings)
    assert show_offerings.show(EVERYTHING, "json") == [*EVERYTHING.offerings, *EVERYTHING.dearer]
    # Suggestions are shown by the command that searches for them, not by their ids.
    assert show_offerings.show(SUGGESTED) == []
    assert len(show_offerings.show(SUGGESTED, "json")) == len(SUGGESTED.suggestions or ())


def test_where_nothing_is_found_only_other_options_are_proposed():
    everywhere = replace(NOTHING, query=Query((), ("trn2.3xlarge",), (24,)))
    assert "There may be one for another duration (-d); --suggest searches those nearby." in shown(everywhere)


def test_what_is_dearer_is_counted_with_the_cheapest():
    dear = (block(fee="80"), block(fee="70"))
    told = shown(replace(NOTHING, query=replace(NOTHING.query, max_price=Decimal(50)), dearer=dear))
    assert "On sale above --max-price 50: 2, from 70.00 USD." in told


def test_an_output_there_is_not_is_refused():
    with pytest.raises(InputError, match="no output 'xml'"):
        show_offerings.form("xml", suggest=False)
    with pytest.raises(InputError, match="CSV has no place"):
        show_offerings.form("csv", suggest=True)
