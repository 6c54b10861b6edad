"""What several unit tests need."""

import time

import pytest


@pytest.fixture
def in_zone(monkeypatch):
    """Puts this process into a time zone."""

    def put(zone):
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield put
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def state_dir(tmp_path, monkeypatch):
    """The folder of this test that `purchase_support.WANTED` keeps its journal in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"
