from datetime import datetime, timezone

from torchneuron.capacity_blocks.words import when


def test_times_are_shown_in_utc_and_local(in_zone):
    noon = datetime(2026, 1, 31, 23, 30, tzinfo=timezone.utc)
    in_zone("UTC")
    assert when(noon) == "2026-01-31 23:30 UTC"
    in_zone("BRT+3")
    assert when(noon) == "2026-01-31 23:30 UTC (20:30 BRT)"
    in_zone("CET-1")
    assert when(noon) == "2026-01-31 23:30 UTC (2026-02-01 00:30 CET)"
