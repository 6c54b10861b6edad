import io
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit import golden
from torchneuron import display
from torchneuron.display import Layout
from torchneuron.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
AWKWARD = "awk '/\\[[^]]*\\]/'\ttab [b]bold[/b] :secret: \\"


def test_a_result_is_printed_exactly_as_given(capsys):
    display.say(AWKWARD)
    assert capsys.readouterr().out == AWKWARD + "\n"


def test_a_reader_who_has_seen_enough_is_no_error():
    code = "from torchneuron import display\nfor line in range(9999): display.say('some words')\nprint('on', end='')"
    command = [sys.executable, "-c", code + "\nimport sys; sys.stderr.write('done')"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "some words\n"
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("done", 0)


def test_facts_are_aligned_and_long_values_can_be_copied_whole(capsys):
    display.facts([("id", "x" * 300), ("name", "one\ntwo")])
    assert capsys.readouterr().out == f"id    {'x' * 300}\nname  one\n      two\n"


def test_an_error_says_what_why_and_what_to_do_on_standard_error(capsys):
    display.show_error(InputError("It [broke].", why="because :x:", do="Mend it."))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Error: It [broke].\nbecause :x:\nMend it.\n")


WIDE = Layout(("Id", ">Cost\nan hour", "Where"), [[("id-1", "1.50", "a [b]zone[/b]")], [("id-2", "22.00", "b")]])
NARROW = Layout(("Id\nWhere", ">Cost"), [[("id-1\na", "1.50")], [("id-2\nb", "22.00")]])


def fitted(width, *layouts):
    return golden.printed(lambda: display.fitting_table(layouts), width=width)


def test_the_first_layout_that_fits_is_taken_and_headings_stand_at_the_top():
    assert fitted(80, WIDE, NARROW) == (
        "┏━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━━━━━┓\n"
        "┃ Id   ┃    Cost ┃ Where         ┃\n"
        "┃      ┃ an hour ┃               ┃\n"
        "┡━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━━━━━┩\n"
        "│ id-1 │    1.50 │ a [b]zone[/b] │\n"
        "│ id-2 │   22.00 │ b             │\n"
        "└──────┴─────────┴───────────────┘\n"
    )


def test_a_narrower_terminal_takes_the_next_with_lines_between_the_groups():
    assert fitted(20, WIDE, NARROW) == (
        "┏━━━━━━━┳━━━━━━━┓\n"
        "┃ Id    ┃  Cost ┃\n"
        "┃ Where ┃       ┃\n"
        "┡━━━━━━━╇━━━━━━━┩\n"
        "│ id-1  │  1.50 │\n"
        "│ a     │       │\n"
        "├───────┼───────┤\n"
        "│ id-2  │ 22.00 │\n"
        "│ b     │       │\n"
        "└───────┴───────┘\n"
    )


def test_the_last_layout_is_squeezed_but_its_ids_stay_whole():
    squeezed = fitted(14, WIDE, Layout(("Id", "Text"), [[("id-12345", "some words")]]))
    assert "id-12345" in squeezed
    assert all(len(line) <= 14 for line in squeezed.splitlines())


def test_only_a_pipe_has_room_for_what_a_pipe_needs():
    assert golden.printed(lambda: display.say(str(display.width()))) == "160\n"
    assert golden.printed(lambda: display.say(str(display.width())), width=80) == "80\n"


def test_nothing_is_told_of_progress_where_nobody_watches(capsys):
    with display.waiting("Searching") as progress:
        display.retell(progress, "Searching on")
    assert capsys.readouterr() == ("", "")


class Interrupted(io.StringIO):
    """A terminal at which somebody presses Ctrl-C."""

    def isatty(self):
        return True

    def readline(self, *_):
        raise KeyboardInterrupt


def test_ctrl_c_at_a_question_about_money_says_that_nothing_was_bought(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        display.confirm("Buy it?", otherwise="Add --yes.", unchanged="Nothing was bought.")
    assert capsys.readouterr().err.endswith("\nNothing was bought.\n")
