"""Control sequences are removed, shell syntax is quoted, and times and prices are formatted."""

import json
import shlex
import subprocess
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from torchneuron.core.text import PlainStream, command, either, iso, local_time, plain, price, quoted, when

SEQUENCES = [
    ("\x1b[31mred\x1b[0m", "red"),
    ("\x1b]52;c;aGFybQ==\x07on", "on"),
    ("\x1b]0;title\x1b\\on", "on"),
    ("\x1b]52;c;aGFybQ==", "52;c;aGFybQ=="),  # unterminated: only its start is removed
    ("\x1b\x1b[31m[2Jon", "\\u001b[2Jon"),  # formed by the removal of another
    ("\x9b2Jon", "on"),
    ("\x9d52;c;aGFybQ==\x9con", "on"),
    ("\x1bcon", "on"),
    ("\x1b(0on", "on"),
    ("\x1bPq#0\x1b\\on", "on"),
    ("\x07\x08", "\\u0007\\u0008"),
    ("abc\u202edef\u2069", "abc\\u202edef\\u2069"),
    ("\udc9b2J", "\\udc9b2J"),
    ("10%\r20%\r\ndone\n", "10%\n20%\ndone\n"),
    ("a\tb", "a\tb"),
    ("São Paulo — ✓ 日本", "São Paulo — ✓ 日本"),
    ("\x1b", "\\u001b"),
]


@pytest.mark.attack("A log sends control sequences, whole or split between pieces")
@pytest.mark.parametrize(("text", "shown"), SEQUENCES)
def test_control_sequences_are_removed_wherever_the_pieces_end(text, shown):
    assert plain(text) == shown
    for size in (1, 2, 3):
        stream = PlainStream()
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert "".join(map(stream.feed, pieces)) + stream.finish() == shown


def test_json_stays_json_for_every_character():
    every = "".join(map(chr, range(0x2100)))
    assert json.loads(plain(json.dumps(every, ensure_ascii=False))) == every


def test_unterminated_sequence_is_shown_as_text():
    stream = PlainStream()
    shown = "".join(stream.feed("\x1b]52;c;" + "A" * 1000) for _ in range(20))
    assert len(shown) > 10_000


HOSTILE = ["; rm -rf ~", "`id`", "$(id)", "it's", "a\nb", "\x1b]52;c;aGk=\x07", "", "a b", "é", "\\x41'\n"]


@pytest.mark.attack("A tag with shell syntax ends up in a command to paste")
@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_in_a_command_is_one_word_of_printable_characters(value):
    line = command("printf %s", value)
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert done.stdout.decode() == value


def test_quotes_are_added_only_where_needed():
    assert command("invoke info", "-r", "sa-east-1") == "invoke info -r sa-east-1"
    assert shlex.split(quoted("a'b")) == ["a'b"]


EVENING = datetime(2026, 1, 31, 23, 30, tzinfo=timezone.utc)


def test_times_are_shown_in_utc_and_local(in_zone):
    in_zone("UTC")
    assert when(EVENING) == "2026-01-31 23:30 UTC"
    in_zone("BRT+3")
    assert when(EVENING) == "2026-01-31 23:30 UTC (20:30 BRT)"
    in_zone("CET-1")
    assert when(EVENING) == "2026-01-31 23:30 UTC (2026-02-01 00:30 CET)"
    assert when(None) == "open"


def test_local_time_is_empty_in_utc(in_zone):
    in_zone("GMT0")
    assert local_time(EVENING) == ""


def test_iso_time_is_in_utc_with_whole_seconds():
    here = timezone(timedelta(hours=-3))
    assert iso(datetime(2026, 1, 31, 20, 30, 15, 999, tzinfo=here)) == "2026-01-31T23:30:15Z"


def test_price_has_two_decimals_and_a_thousands_separator():
    assert price(Decimal("1234.5"), "USD") == "1,234.50 USD"


@pytest.mark.parametrize(("parts", "text"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")])
def test_alternatives_are_joined_with_or(parts, text):
    assert either(parts) == text
