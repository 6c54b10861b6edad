"""What a terminal would obey does not reach it; what a shell would run is quoted."""

import json
import shlex
import subprocess

import pytest

from torchneuron.core.text import PlainStream, command, plain, quoted

SEQUENCES = [
    ("\x1b[31mred\x1b[0m", "red"),
    ("\x1b]52;c;aGFybQ==\x07on", "on"),
    ("\x1b]0;title\x1b\\on", "on"),
    ("\x1b]52;c;aGFybQ==", "52;c;aGFybQ=="),  # without an end: its beginning goes
    ("\x1b\x1b[31m[2Jon", "\\u001b[2Jon"),  # made of what is left of another
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


def test_a_sequence_without_an_end_is_not_waited_for():
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


def test_what_needs_no_quotes_has_none():
    assert command("invoke info", "-r", "sa-east-1") == "invoke info -r sa-east-1"
    assert shlex.split(quoted("a'b")) == ["a'b"]
