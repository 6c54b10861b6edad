import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit import golden
from tests.unit.capacity_fakes import REGION, START
from tests.unit.offerings_support import block, blocks
from tests.unit.results_support import EVERYTHING, LIMITED, NOT_SOLD, NOTHING, ONE, RESULTS, SUGGESTED, UNSUPPORTED
from torchneuron.capacity_blocks import show_offerings
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.show_offerings import timeline
from torchneuron.core.errors import InputError

WEEK = [block(f"cb-{day:08x}", start=START + timedelta(days=day)) for day in (0, 3, 1)]
PROPOSAL = "  invoke cb.purchase --offering-id cb-0123456789abcdef0 --start-time 2026-01-12T11:30:00Z -r sa-east-1\n"


def shown(results, *, width=0, output="table"):
    return golden.printed(lambda: show_offerings.show(results, output), width=width)


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("width", [80, 100, 160, 0])
def test_output_matches_the_golden_file(name, width, in_zone):
    in_zone("BRT+3")
    golden.check(f"search-{name}-{width or 'piped'}.txt", shown(RESULTS[name], width=width))


@pytest.mark.parametrize("zone", ["UTC", "BRT+3", "CEST-2", "NZDT-13"])
@pytest.mark.parametrize("width", [80, 100, 160])
def test_only_the_command_may_be_wider_than_the_terminal(width, zone, in_zone):
    in_zone(zone)
    for name, results in RESULTS.items():
        lines = shown(results, width=width).splitlines()
        drawn = [line for line in lines if line.strip()[:1] in ("│", "┃", "┏", "├", "└") or line.startswith("cb-")]
        assert all(len(line) <= width for line in drawn), name
        # A table that is too wide breaks a date into two lines.
        assert not drawn or any(re.search(r"2026-01-1\d 11:30", line) for line in drawn), name


@pytest.mark.parametrize("width", [0, 40, 80])
def test_purchase_command_is_one_line_at_any_width(width):
    assert PROPOSAL in shown(ONE, width=width)


def test_timeline_is_ascii_on_an_ascii_terminal(monkeypatch):
    class Ascii(golden.Terminal):
        encoding = "ascii"

    lines = golden.printed(lambda: show_offerings.show(ONE), width=80, output=Ascii()).splitlines()
    assert all(line.isascii() for line in lines)
    assert any(re.match(r"cb-\w+ +#+$", line) for line in lines)


@pytest.mark.parametrize("output", ["table", "csv"])
def test_refusals_are_printed_to_standard_error(output, capsys):
    out = shown(EVERYTHING, output=output)
    assert "not sold" not in out
    assert capsys.readouterr().err == (
        "trn2.3xlarge is not sold in: us-east-2\n"
        "Search incomplete in: us-east-2 (rate limit, or a quota of 0 in Service Quotas:"
        ' EC2, "Concurrent TRN2 Capacity Blocks per account", L-64569A79)\n'
    )


def test_json_has_the_refusals_and_standard_error_nothing(capsys):
    shown(EVERYTHING, output="json")
    assert capsys.readouterr().err == ""


def test_search_of_all_regions_omits_regions_that_do_not_sell_the_type(capsys):
    everywhere = replace(ONE, query=Query((), ("trn2.3xlarge",), (24,)), regions=(REGION, "us-east-2"))
    shown(replace(everywhere, refused=(NOT_SOLD,)))
    assert capsys.readouterr().err == ""
    shown(replace(everywhere, refused=(LIMITED,)))
    assert "Search incomplete in: us-east-2" in capsys.readouterr().err


def test_type_sold_in_no_region_is_reported_in_one_line(capsys):
    regions = ("a", "b", "c", "d", REGION)
    query = Query((), ("inf2.xlarge", "trn2.3xlarge"), (24,))
    refused = [request for request in query.requests(regions) if request.instance_type == "inf2.xlarge"]
    shown(
        replace(
            ONE, query=query, regions=regions, refused=tuple(replace(NOT_SOLD, request=request) for request in refused)
        )
    )
    assert capsys.readouterr().err == "inf2.xlarge is not sold in: all 5 regions searched\n"


def test_printed_offerings_are_returned():
    assert show_offerings.show(EVERYTHING) == list(EVERYTHING.offerings)
    assert show_offerings.show(EVERYTHING, "json") == [*EVERYTHING.offerings, *EVERYTHING.dearer]
    # Suggestions are shown by the command that searches for them, not by their ids.
    assert show_offerings.show(SUGGESTED) == []
    assert len(show_offerings.show(SUGGESTED, "json")) == len(SUGGESTED.suggestions or ())


def test_empty_result_proposes_only_options_that_can_help():
    everywhere = replace(NOTHING, query=Query((), ("trn2.3xlarge",), (24,)))
    assert "Try another duration (-d), or add --suggest to search nearby." in shown(everywhere)


def test_offerings_above_the_maximum_price_are_counted():
    dear = (block(fee="80"), block(fee="70"))
    output = shown(replace(NOTHING, query=replace(NOTHING.query, max_price=Decimal(50)), dearer=dear))
    assert "On sale above --max-price 50: 2, from 70.00 USD." in output


def test_unknown_output_is_refused():
    with pytest.raises(InputError, match="no output 'xml'"):
        show_offerings.form("xml", suggest=False)
    with pytest.raises(InputError, match="--suggest cannot be combined with --output csv"):
        show_offerings.form("csv", suggest=True)


@pytest.mark.parametrize("output", ["table", "csv"])
def test_offerings_left_out_are_reported_once_with_the_reason(output, capsys):
    shown(UNSUPPORTED, output=output)
    assert capsys.readouterr().err == (
        "Offerings left out: 2. It has several segments, each its own reservation; invoke deploy launches on one"
        " reservation.\n"
    )


def test_each_bar_is_under_its_day():
    axis, first, last, middle = timeline(WEEK, 60)
    assert axis.split() == ["│12", "Jan", "│13", "Jan", "│14", "Jan", "│15", "Jan", "│16", "Jan"]
    assert [line.split()[0] for line in (first, last, middle)] == ["cb-00000000", "cb-00000003", "cb-00000001"]
    for line, day in ((first, "12"), (last, "15"), (middle, "13")):
        begin = next(index for index in range(13, len(line)) if line[index] != " ")
        assert axis.index(f"│{day}") < begin < axis.index(f"│{int(day) + 1}")


def test_bar_ends_when_instances_are_terminated():
    # The block ends at 00:30, and its instances are terminated at 00:00.
    short = block(start=START, end=START + timedelta(hours=13), duration=timedelta(hours=13))
    _, drawn = timeline([short], 22 + 96)
    assert len(drawn) == 22 + 48


def test_timeline_is_empty_without_room_or_offerings():
    assert timeline(WEEK, 32) == []
    assert timeline([], 80) == []


@pytest.mark.parametrize("width", range(32, 120))
def test_dates_years_apart_do_not_overlap(width):
    axis, *_ = timeline([block(), block(start=START + timedelta(days=640))], width) or [""]
    assert len(axis) <= width
    assert {len(date.rstrip()) for date in axis.split("│")[1:]} <= {len("12 Jan")}


@settings(deadline=None)
@given(st.lists(blocks(), min_size=1, max_size=8), st.integers(0, 200), st.booleans())
def test_timeline_fits_the_width_and_shows_every_offering(found, width, plain):
    drawn = timeline(found, width, plain=plain)
    if not drawn:
        return
    assert all(len(line) <= width for line in drawn)
    assert [line.split()[0] for line in drawn[1:]] == [offering.id for offering in found]
    label_width = max(len(offering.id) for offering in found) + 2
    assert all(len(line[label_width:].split()) == 1 for line in drawn[1:])
    if plain:
        assert all(line.isascii() for line in drawn)


@settings(deadline=None)
@given(st.lists(blocks(), min_size=2, max_size=6), st.integers(60, 200))
def test_later_start_is_never_drawn_earlier(found, width):
    label_width = max(len(offering.id) for offering in found) + 2
    begins = [
        (offering.start, len(line) - len(line[label_width:].lstrip()))
        for offering, line in zip(found, timeline(found, width)[1:], strict=True)
    ]
    positions = [position for _, position in sorted(begins)]
    assert positions == sorted(positions)
