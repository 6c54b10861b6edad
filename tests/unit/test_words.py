from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from torchneuron.core.text import either, iso, local_time, price, when

EVENING = datetime(2026, 1, 31, 23, 30, tzinfo=timezone.utc)


def test_times_are_shown_in_utc_and_local(in_zone):
    in_zone("UTC")
    assert when(EVENING) == "2026-01-31 23:30 UTC"
    in_zone("BRT+3")
    assert when(EVENING) == "2026-01-31 23:30 UTC (20:30 BRT)"
    in_zone("CET-1")
    assert when(EVENING) == "2026-01-31 23:30 UTC (2026-02-01 00:30 CET)"
    assert when(None) == "open"


def test_a_clock_that_shows_utc_has_no_other_time(in_zone):
    in_zone("GMT0")
    assert local_time(EVENING) == ""


def test_a_time_for_programs_is_in_utc_to_the_second():
    here = timezone(timedelta(hours=-3))
    assert iso(datetime(2026, 1, 31, 20, 30, 15, 999, tzinfo=here)) == "2026-01-31T23:30:15Z"


def test_money_has_two_places_and_thousands():
    assert price(Decimal("1234.5"), "USD") == "1,234.50 USD"


@pytest.mark.parametrize(("parts", "text"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")])
def test_a_choice_is_said_in_words(parts, text):
    assert either(parts) == text
