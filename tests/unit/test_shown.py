import json
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.capacity_fakes import NOW, START
from tests.unit.offerings_support import block, blocks
from torchneuron.capacity_blocks import shown

FILE = "offerings-shown.json"


@settings(deadline=None)
@given(st.lists(blocks(), max_size=5, unique_by=lambda offering: offering.id))
def test_remembered_offerings_are_recalled_unchanged(found):
    with tempfile.TemporaryDirectory() as folder:
        shown.remember(Path(folder), found, NOW)
        for offering in found:
            assert shown.recall(Path(folder), offering.id) == offering


def test_unknown_id_is_not_recalled(tmp_path):
    shown.remember(tmp_path, [block("cb-1")], NOW)
    assert shown.recall(tmp_path, "cb-1") == block("cb-1")
    assert shown.recall(tmp_path, "cb-2") is None


def test_offerings_that_have_started_are_dropped(tmp_path):
    shown.remember(tmp_path, [block("cb-old"), block("cb-kept", start=START + timedelta(days=9))], NOW)
    shown.remember(tmp_path, [block("cb-new")], START)
    assert shown.recall(tmp_path, "cb-old") is None
    assert shown.recall(tmp_path, "cb-kept") is not None
    assert shown.recall(tmp_path, "cb-new") is not None


def test_offering_shown_again_replaces_the_earlier_one(tmp_path):
    shown.remember(tmp_path, [block("cb-1")], NOW)
    shown.remember(tmp_path, [block("cb-1", fee="60.00")], NOW)
    assert shown.recall(tmp_path, "cb-1") == block("cb-1", fee="60.00")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cb-1": {}}', '{"cb-1": null}', '{"cb-1": []}', "\ufffe"])
def test_damaged_cache_is_ignored_and_replaced(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    assert shown.recall(tmp_path, "cb-1") is None
    shown.remember(tmp_path, [block("cb-1")], NOW)
    assert shown.recall(tmp_path, "cb-1") == block("cb-1")


def test_cache_of_an_earlier_version_is_read(tmp_path):
    """Durations were in seconds, and offerings had fields for segments and UltraServers."""
    shown.remember(tmp_path, [block("cb-1")], NOW)
    (cached,) = json.loads((tmp_path / FILE).read_text()).values()
    earlier = {**cached, "duration": 86400.0, "ultraserver_type": "", "ultraserver_count": 0, "segments": []}
    del earlier["unsupported_reason"]
    (tmp_path / FILE).write_text(json.dumps({"cb-1": earlier}))
    assert shown.recall(tmp_path, "cb-1") == block("cb-1")


def test_times_without_a_zone_are_ignored(tmp_path):
    shown.remember(tmp_path, [block("cb-1")], NOW)
    text = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(text.replace('Z"', '"'))
    assert shown.recall(tmp_path, "cb-1") is None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_file_content_causes_a_traceback(content):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(content)
        assert shown.recall(Path(folder), "cb-1") is None


def test_unwritable_cache_is_a_warning(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    shown.remember(tmp_path / "file", [block("cb-1")], NOW)
    assert "--duration" in capsys.readouterr().err
