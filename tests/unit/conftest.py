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
