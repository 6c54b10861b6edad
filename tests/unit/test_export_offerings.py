import csv
import io
import json
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit import golden
from tests.unit.offerings_support import REQUEST, block, blocks
from tests.unit.results_support import EVERYTHING, NOTHING, SUGGESTED, UNSUPPORTED
from torchneuron.capacity_blocks.export_offerings import as_csv, as_json
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.search import Results

QUERY = Query((REQUEST.region,), (REQUEST.instance_type,), (24,))
NAMED = {
    "everything": EVERYTHING,
    "unsupported": UNSUPPORTED,
    "nothing": NOTHING,
    "suggested": SUGGESTED,
}


@pytest.mark.parametrize("name", NAMED)
def test_json_matches_the_golden_file(name):
    golden.check(f"search-{name}.json", as_json(NAMED[name]) + "\n")


@pytest.mark.parametrize("name", ["everything", "nothing"])
def test_csv_matches_the_golden_file(name):
    golden.check(f"search-{name}.csv", as_csv(NAMED[name]))


@settings(deadline=None)
@given(st.lists(blocks(), max_size=4))
def test_csv_and_json_have_the_same_values(found):
    results = Results(QUERY, QUERY.regions, tuple(found))
    listed = json.loads(as_json(results))["offerings"]
    rows = list(csv.DictReader(io.StringIO(as_csv(results))))
    assert len(rows) == len(listed) == len(found)
    for row, value, offering in zip(rows, listed, found, strict=True):
        assert list(row) == list(value)
        assert row == {name: "" if cell is None else str(cell) for name, cell in value.items()}
        assert Decimal(value["fee"]) == offering.fee
        assert datetime.fromisoformat(value["start"].replace("Z", "+00:00")) == offering.start.replace(microsecond=0)


def test_name_with_a_comma_stays_in_one_cell():
    (row,) = csv.reader(io.StringIO(as_csv(Results(QUERY, QUERY.regions, (block(zone='a,"b"'),))).split("\n", 1)[1]))
    assert row[2] == 'a,"b"'
