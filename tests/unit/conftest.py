"""What several unit tests need."""

import os
import time

import pytest


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch):
    """Leave files in the page cache: no unit test is about a power cut, and a disk takes milliseconds a file."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


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
