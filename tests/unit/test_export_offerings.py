import csv
import io
import json
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit import golden
from tests.unit.offerings_support import REQUEST, block, blocks, of_segments, of_ultraservers
from tests.unit.results_support import EVERYTHING, NOTHING, SEGMENTS, SUGGESTED, ULTRASERVERS
from torchneuron.capacity_blocks.export_offerings import as_csv, as_json
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.searching import Results

QUERY = Query((REQUEST.region,), (REQUEST.instance_type,), (24,))


NAMED = {
    "everything": EVERYTHING,
    "segments": SEGMENTS,
    "ultraservers": ULTRASERVERS,
    "nothing": NOTHING,
    "suggested": SUGGESTED,
}


@pytest.mark.parametrize("name", NAMED)
def test_json_is_as_it_was_read_by_a_person(name):
    golden.check(f"search-{name}.json", as_json(NAMED[name]) + "\n")


@pytest.mark.parametrize("name", ["everything", "segments", "ultraservers", "nothing"])
def test_csv_is_as_it_was_read_by_a_person(name):
    golden.check(f"search-{name}.csv", as_csv(NAMED[name]))


@settings(deadline=None)
@given(st.lists(blocks(), max_size=4))
def test_csv_and_json_say_the_same_of_every_offering(found):
    results = Results(QUERY, QUERY.regions, tuple(found))
    listed = json.loads(as_json(results))["offerings"]
    rows = list(csv.DictReader(io.StringIO(as_csv(results))))
    assert len(rows) == len(listed) == len(found)
    for row, value, offering in zip(rows, listed, found, strict=True):
        assert list(row) == list(value)
        plain = {name: "" if one is None else str(one) for name, one in value.items() if name != "segments"}
        assert {name: row[name] for name in plain} == plain
        assert row["segments"].count("/") >= len(value["segments"])
        assert Decimal(value["fee"]) == offering.fee
        assert datetime.fromisoformat(value["start"].replace("Z", "+00:00")) == offering.start.replace(microsecond=0)


def test_a_name_with_a_comma_stays_in_its_cell():
    (row,) = csv.reader(io.StringIO(as_csv(Results(QUERY, QUERY.regions, (block(zone='a,"b"'),))).split("\n", 1)[1]))
    assert row[2] == 'a,"b"'


def test_segments_are_one_cell_and_ultraservers_are_counted_apart():
    found = (of_segments(("us-west-2b", 12, 0, 24), ("us-west-2d", 8, 1, 24)), of_ultraservers())
    segments, ultraservers = csv.DictReader(io.StringIO(as_csv(Results(QUERY, QUERY.regions, found))))
    assert segments["segments"].startswith("12 x trn1.32xlarge us-west-2b 2026-01-12T11:30:00Z/2026-01-13T11:30:00Z ")
    assert (ultraservers["ultraserverCount"], ultraservers["instanceCount"]) == ("2", "8")
    assert ultraservers["usableHours"] == "23"
