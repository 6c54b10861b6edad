import contextlib
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoke import Collection
from invoke.program import Program

from commands.command import command
from torchneuron.core import options
from torchneuron.core.errors import InputError
from torchneuron.core.options import flag, option, repeatable, whole_number


def test_what_is_left_out_is_nothing():
    assert options.whole_number("--count", "") == 0
    assert options.amount("--max-price", "") is None
    assert options.moment("--start-time", "") is None
    assert options.several("-t", "") == ()


def test_what_is_given_is_understood():
    assert options.whole_number("--count", "12") == 12
    assert options.amount("--max-price", "53.64") == Decimal("53.64")
    assert options.several("-t", "a, b,a") == ("a", "b")
    assert options.one_of("--output", "json", ["table", "json"]) == "json"
    assert options.aws_id("--reservation-id", "cr-0123456789abcdef0", "cr") == "cr-0123456789abcdef0"


@pytest.mark.parametrize(
    "text", ["2026-01-31T11:30:00Z", "2026-01-31T08:30:00-03:00", "2026-01-31T11:30", " 2026-01-31 11:30z"]
)
def test_a_time_is_in_utc_unless_it_says_otherwise(text):
    assert options.moment("--start-time", text) == datetime(2026, 1, 31, 11, 30, tzinfo=timezone.utc)


REFUSED = [
    (options.whole_number, "1.5"),
    (options.whole_number, "-1"),
    (options.whole_number, "1" * 5000),
    (options.whole_number, "٣"),
    (options.amount, "-3"),
    (options.amount, "0"),
    (options.amount, "1e400"),
    (options.amount, "inf"),
    (options.amount, "$5"),
    (options.moment, "tomorrow"),
    (options.moment, "2026-13-01"),
    (options.moment, "0001-01-01T00:00:00+23:59"),
    (options.several, "a,,b"),
    (options.several, ","),
]


@pytest.mark.parametrize(("parse", "text"), REFUSED)
def test_what_makes_no_sense_is_refused_by_the_options_name(parse, text):
    with pytest.raises(InputError) as refused:
        parse("--the-option", text)
    assert text in refused.value.what
    assert "--the-option" in refused.value.do or "--the-option" in refused.value.what


@pytest.mark.parametrize(
    "text", ["cr-1", "i-0123456789abcdef0", "cr-0123456789abcdef0 ", "cr-0123456789ABCDEF0", "cr-x"]
)
def test_an_id_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="is not an id for --reservation-id"):
        options.aws_id("--reservation-id", text, "cr")


def test_a_missing_id_is_named():
    with pytest.raises(InputError, match="Missing option: --reservation-id"):
        options.aws_id("--reservation-id", "", "cr")


def test_a_word_nearly_right_is_recognised():
    with pytest.raises(InputError) as refused:
        options.one_of("--output", "jsn", ["table", "json", "csv"])
    assert "json" in refused.value.why


@given(st.text(max_size=30))
def test_any_text_is_understood_or_refused(text):
    for parse in (options.whole_number, options.amount, options.moment, options.several):
        with contextlib.suppress(InputError):
            parse("--the-option", text)


@dataclass(frozen=True)
class SampleOptions:
    count: int = option("Count", default=1, parse=whole_number)
    dry_run: bool = flag("Change nothing")
    tag: tuple[str, ...] = repeatable("A tag")
    password: str | bool = option("Password", value_is_optional=True)


def values_of(*arguments):
    received = []

    @command(SampleOptions)
    def sample(options: SampleOptions) -> None:
        received.append(options)

    Program(namespace=Collection(sample)).run(["invoke", "sample", *arguments])
    return received[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], SampleOptions()),
        (["--count", ""], SampleOptions(count=1)),
        (["--count", "3", "--dry-run"], SampleOptions(count=3, dry_run=True)),
        (["--tag", "a", "--tag", "b"], SampleOptions(tag=("a", "b"))),
        (["--password"], SampleOptions(password=True)),
        (["--password", "secret"], SampleOptions(password="secret")),
    ],
)
def test_command_line_becomes_the_options_of_the_command(arguments, expected):
    assert values_of(*arguments) == expected


def test_option_that_cannot_be_parsed_is_refused_by_name(capsys):
    with pytest.raises(SystemExit) as ended:
        values_of("--count", "many")
    assert ended.value.code == 2
    assert "Give --count as one to nine digits." in capsys.readouterr().err
