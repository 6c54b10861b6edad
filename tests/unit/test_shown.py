import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.capacity_fakes import NOW, START
from tests.unit.offerings_support import block, blocks, of_segments, of_ultraservers
from torchneuron.capacity_blocks import shown

FILE = "offerings-shown.json"


@settings(deadline=None)
@given(st.lists(blocks(), max_size=5, unique_by=lambda one: one.id))
def test_what_was_shown_is_recalled_whole(found):
    with tempfile.TemporaryDirectory() as folder:
        shown.remember(Path(folder), found, NOW)
        for one in found:
            assert shown.recall(Path(folder), one.id) == one


def test_nothing_else_is_recalled(tmp_path):
    shown.remember(tmp_path, [block("cb-1")], NOW)
    assert shown.recall(tmp_path, "cb-1") == block("cb-1")
    assert shown.recall(tmp_path, "cb-2") is None


def test_what_has_started_is_forgotten_and_the_rest_kept(tmp_path):
    shown.remember(tmp_path, [block("cb-old"), block("cb-kept", start=START + timedelta(days=9))], NOW)
    shown.remember(tmp_path, [of_ultraservers(), of_segments(("a", 1, 0, 24), ("b", 2, 0, 24))], START)
    assert shown.recall(tmp_path, "cb-old") is None
    assert shown.recall(tmp_path, "cb-kept") is not None
    assert shown.recall(tmp_path, of_ultraservers().id) == of_ultraservers()


def test_what_is_shown_again_is_kept_as_it_was_last(tmp_path):
    shown.remember(tmp_path, [block("cb-1")], NOW)
    shown.remember(tmp_path, [block("cb-1", fee="60.00")], NOW)
    assert shown.recall(tmp_path, "cb-1") == block("cb-1", fee="60.00")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cb-1": {}}', '{"cb-1": null}', '{"cb-1": []}', "\ufffe"])
def test_a_damaged_memory_is_no_memory_and_can_be_written_again(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    assert shown.recall(tmp_path, "cb-1") is None
    shown.remember(tmp_path, [block("cb-1")], NOW)
    assert shown.recall(tmp_path, "cb-1") == block("cb-1")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_file_at_all_is_a_traceback(content):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(content)
        assert shown.recall(Path(folder), "cb-1") is None


def test_a_search_succeeds_where_nothing_can_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    shown.remember(tmp_path / "file", [block("cb-1")], NOW)
    assert "--duration" in capsys.readouterr().err
