from torchneuron import display
from torchneuron.errors import InputError

AWKWARD = "awk '/\\[[^]]*\\]/'\ttab [b]bold[/b] :secret: \\"


def test_a_result_is_printed_exactly_as_given(capsys):
    display.say(AWKWARD)
    assert capsys.readouterr().out == AWKWARD + "\n"


def test_facts_are_aligned_and_long_values_can_be_copied_whole(capsys):
    display.facts([("id", "x" * 300), ("name", "one\ntwo")])
    assert capsys.readouterr().out == f"id    {'x' * 300}\nname  one\n      two\n"


def test_an_error_says_what_why_and_what_to_do_on_standard_error(capsys):
    display.show_error(InputError("It [broke].", why="because :x:", do="Mend it."))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Error: It [broke].\nbecause :x:\nMend it.\n")
