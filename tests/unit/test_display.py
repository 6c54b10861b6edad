import io
import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit import golden
from torchneuron.core import display
from torchneuron.core.display import Layout
from torchneuron.core.errors import Declined, InputError
from torchneuron.setup.live import live_monitor
from torchneuron.setup.steps import StepState, StepStatus

ROOT = Path(__file__).resolve().parents[2]
AWKWARD = "awk '/\\[[^]]*\\]/'\ttab [b]bold[/b] :secret: \\"


def test_a_result_is_printed_exactly_as_given(capsys):
    display.say(AWKWARD)
    assert capsys.readouterr().out == AWKWARD + "\n"


def test_a_reader_who_has_seen_enough_is_no_error():
    code = (
        "from torchneuron.core import display\nfor line in range(9999): display.say('some words')\nprint('on', end='')"
    )
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
        display.update_waiting(progress, "Searching on")
    assert capsys.readouterr() == ("", "")


@dataclass
class OnTerminal:
    """Standard input on a terminal where Ctrl-C is pressed once `answers` are used up."""

    leader: int
    follower: int
    answers: list[str]
    asked: int = 0

    def isatty(self):
        return True

    def fileno(self):
        # The first time to discard what was typed ahead, then for each answer.
        if self.asked:
            if not self.answers:
                raise KeyboardInterrupt
            os.write(self.leader, self.answers.pop(0).encode())
        self.asked += 1
        return self.follower


@pytest.fixture
def terminal(monkeypatch):
    """Asks on a terminal where `answers` are given, each after its question, and `ahead` before the first."""
    leader, follower = pty.openpty()

    def ask(*answers, ahead="", default=False):
        stdin = OnTerminal(leader, follower, list(answers))
        monkeypatch.setattr("sys.stdin", stdin)
        os.write(leader, ahead.encode())
        return display.confirm("Buy it?", default=default, otherwise="Add --yes.", unchanged="Nothing was bought.")

    yield ask
    os.close(leader)
    os.close(follower)


@pytest.mark.parametrize(
    ("answer", "meant"),
    [
        ("y\n", True),
        ("YES\n", True),
        (" Yes \n", True),
        ("n\n", False),
        ("No\n", False),
        ("NO\n", False),
        ("\n", False),
    ],
)
def test_yes_and_no_are_answers(terminal, answer, meant):
    assert terminal(answer) is meant


def test_an_empty_answer_is_the_default(terminal):
    assert terminal("\n", default=True)


def test_any_other_answer_asks_again(terminal, capsys):
    assert terminal("yess\n", "ja\n", "y\n")
    assert capsys.readouterr().err.count("Buy it? [y/N] ") == 3


@pytest.mark.attack("A newcomer types y before the price is on the screen")
def test_an_answer_typed_before_the_question_is_discarded(terminal):
    assert terminal("n\n", ahead="y\n") is False


def test_ctrl_c_at_a_question_about_money_says_that_nothing_was_bought(terminal, capsys):
    with pytest.raises(KeyboardInterrupt):
        terminal()
    assert capsys.readouterr().err.endswith("\nNothing was bought.\n")


def test_ctrl_d_cancels(terminal):
    with pytest.raises(InputError, match=r"Cancelled\. Nothing was bought\."):
        terminal("\x04")


def test_without_a_terminal_nobody_is_asked(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(InputError, match=r"Not a terminal: .* Nothing was bought\.") as refused:
        display.confirm("Buy it?", otherwise="Add --yes.", unchanged="Nothing was bought.")
    assert refused.value.do == "Add --yes."


def test_a_no_is_not_an_error(capsys):
    display.show_error(Declined("Nothing was bought."))
    assert capsys.readouterr() == ("", "Nothing was bought.\n")
    assert Declined.exit_status == 0


HOSTILE = "a\x1b]52;c;aGFybQ==\x07b\x1b[2J\x9b31mc\u202ed[red]e[/red][link=http://evil]f\x7f"
HARMLESS = "abc\\u202ed[red]e[/red][link=http://evil]f\\u007f"


def _live_table():
    with live_monitor(several=False) as table:
        table.progress("i-1", [StepStatus(HOSTILE, StepState.DONE, last_line=HOSTILE)])


SHOWN = {
    "say": lambda: display.say(HOSTILE),
    "note": lambda: display.note(HOSTILE),
    "warn": lambda: display.warn(HOSTILE),
    "error": lambda: display.show_error(InputError(HOSTILE, why=HOSTILE, do=HOSTILE)),
    "facts": lambda: display.facts([(HOSTILE, HOSTILE)]),
    "table": lambda: display.table([HOSTILE], [[HOSTILE]], title=HOSTILE),
    "fitting table": lambda: display.fitting_table([Layout((HOSTILE, ">b"), [[(HOSTILE, HOSTILE)]])]),
    "stream": lambda: display.stream([HOSTILE.encode()]),
    "stream, byte by byte": lambda: display.stream([bytes([byte]) for byte in HOSTILE.encode()]),
    "live table": _live_table,
}


@pytest.mark.attack("A tag, parameter or log repaints the screen, sets the clipboard, or reorders text")
@pytest.mark.parametrize("form", SHOWN)
@pytest.mark.parametrize("width", [0, 120])
def test_text_of_others_reaches_the_terminal_without_control_sequences(form, width, capsys):
    out = golden.printed(SHOWN[form], width=width)
    shown = out + capsys.readouterr().err
    assert HARMLESS in shown
    own = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown) if form == "live table" else shown
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", own)


def test_the_spinner_s_text_has_no_control_sequences_either(monkeypatch):
    screen = golden.Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    display.console.cache_clear()
    try:
        with display.waiting(HOSTILE) as progress:
            display.update_waiting(progress, HOSTILE)
            progress.refresh()
    finally:
        display.console.cache_clear()
    assert "\x1b]" not in screen.getvalue()
    assert "\x9b" not in screen.getvalue()
