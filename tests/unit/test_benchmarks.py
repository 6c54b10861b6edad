"""The engine of the benchmarks, with a clock that only fake work moves: no figure here depends on a machine."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack

import pytest

from benchmarks import help_pages, programs, synth
from benchmarks.__main__ import main
from benchmarks.pairs import BenchmarkError, Figures, Pair, measure


class Days:
    """A clock and a diary: work that takes the seconds it is given, one after the other."""

    def __init__(self):
        self.now = 0.0
        self.diary = []

    def clock(self):
        return self.now

    def work(self, name, seconds):
        left = iter(seconds)

        def run():
            self.diary.append(name)
            self.now += next(left)

        return run


def nothing():
    pass


def fail():
    raise BenchmarkError("It broke.", why="said by it")


def claiming(*pairs):
    return {"fake": lambda folder, environment, endings: pairs}


HOLDS = Pair("fine", "usual", nothing, nothing, at_most=float("inf"))
BROKEN = Pair("too much", "usual", nothing, nothing, at_most=0.0)


def test_both_ways_take_turns_and_whole_rounds():
    days = Days()
    pairs = [
        Pair(name, "usual", days.work(f"{name} ours", [1.0] * 3), days.work(f"{name} usual", [1.0] * 3), at_most=1.0)
        for name in ("a", "b")
    ]
    reported = []
    measure(pairs, 2, tell=lambda *words: reported.append(words), clock=days.clock)
    assert days.diary == ["a ours", "a usual", "b ours", "b usual"] * 3
    assert reported == [(part, what) for part in ("Warming up", "Round 1 of 2", "Round 2 of 2") for what in ("a", "b")]


def test_shortest_and_median_without_the_round_that_warms_up():
    days = Days()
    pair = Pair(
        "x", "usual", days.work("ours", [0.5, 3.0, 1.0, 2.0]), days.work("usual", [0.5, 10.0, 30.0, 4.0]), at_most=0.25
    )
    (measured,) = measure([pair], 3, tell=lambda *_: None, clock=days.clock)
    assert measured.ours == Figures(shortest=1.0, median=2.0)
    assert measured.usual == Figures(shortest=4.0, median=10.0)
    assert measured.ratio == Figures(shortest=0.25, median=0.2)


@pytest.mark.parametrize(("at_most", "holds"), [(0.5, True), (0.49, False)])
def test_a_claim_holds_by_the_shortest_times(at_most, holds):
    days = Days()
    pair = Pair("x", "usual", days.work("ours", [1.0, 1.0, 9.0]), days.work("usual", [2.0, 2.0, 2.0]), at_most=at_most)
    (measured,) = measure([pair], 2, tell=lambda *_: None, clock=days.clock)
    assert measured.holds is holds


def test_ways_are_compared_every_time():
    compared = []
    pair = Pair("x", "usual", nothing, nothing, at_most=1.0, compare=lambda: compared.append(1))
    measure([pair], 2, tell=lambda *_: None, clock=iter(range(99)).__next__)
    assert len(compared) == 3


def test_a_table_says_what_was_measured_and_where(capsys):
    assert main(["--rounds", "1"], claims=claiming(HOLDS)) == 0
    shown = capsys.readouterr()
    row = next(line for line in shown.out.splitlines() if "fine" in line)
    assert "at most inf" in row
    assert "yes" in row
    for condition in ("Rounds  1", "Python  3.", "Cores", "Load"):
        assert condition in shown.out
    assert shown.err.splitlines() == ["Warming up", "Round 1 of 1"]


def test_a_claim_that_does_not_hold_is_status_1(capsys):
    assert main(["--rounds", "1"], claims=claiming(HOLDS, BROKEN)) == 1
    shown = capsys.readouterr()
    assert "NO" in shown.out
    assert "Not as claimed: too much." in shown.err


def test_what_cannot_be_measured_is_told_and_status_1(capsys):
    assert main([], claims=claiming(HOLDS, Pair("x", "usual", fail, nothing, at_most=1.0))) == 1
    shown = capsys.readouterr()
    assert "It broke.\nsaid by it" in shown.err
    assert shown.out == ""


def test_ctrl_c_leaves_no_half_of_a_table(capsys):
    def interrupt():
        raise KeyboardInterrupt

    assert main([], claims=claiming(Pair("x", "usual", interrupt, nothing, at_most=1.0))) == 130
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--rounds", "many"], ["--only", "lunch"], ["--fast"]])
def test_bad_options_are_status_2(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments, claims=claiming(HOLDS))
    assert ended.value.code == 2


def test_only_what_is_named_is_measured(capsys):
    claims = {**claiming(HOLDS), "other": claiming(BROKEN)["fake"]}
    assert main(["--rounds", "1", "--only", "fake"], claims=claims) == 0
    assert "too much" not in capsys.readouterr().out


def test_a_program_that_fails_is_named_with_what_it_said():
    work = programs.program([sys.executable, "-c", "import sys; sys.exit('no disk')"], programs.environment())
    with pytest.raises(BenchmarkError) as failed:
        work()
    assert f"{sys.executable} -c 'import sys" in failed.value.what
    assert failed.value.what.endswith("ended with status 1.")
    assert failed.value.why == "no disk"


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(BenchmarkError, match="Cannot start no-such-program"):
        programs.program(["no-such-program", "--help"], programs.environment())()


def test_programs_get_nothing_that_could_decide_a_comparison(monkeypatch, tmp_path):
    monkeypatch.setenv("NODE_OPTIONS", "--require x")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    given = programs.environment(tmp_path)
    assert {"NODE_OPTIONS", "PYTHONDONTWRITEBYTECODE"}.isdisjoint(given)
    assert given["PYTHONPYCACHEPREFIX"] == str(tmp_path)


def test_the_list_and_every_help_are_measured(tmp_path):
    measured = {pair.what for pair in help_pages.pairs(tmp_path, {}, ExitStack())}
    assert {"invoke --list", "invoke --help", "invoke cb.search --help", "invoke run-tasks --help"} <= measured


@pytest.fixture
def written(tmp_path):
    """The folders of two ways that wrote the same."""
    folders = tmp_path / "ours", tmp_path / "usual"
    for folder in folders:
        (folder / "stacks").mkdir(parents=True)
        (folder / "stacks" / "cdk.tf.json").write_text("{}")
    return folders


def test_the_same_files_pass_once(written):
    synth.compare(*written)
    with pytest.raises(BenchmarkError, match=r"wrote no cdk\.tf\.json"):
        synth.compare(*written)


@pytest.mark.parametrize("text", ["{ }", None])
def test_other_files_make_times_meaningless(written, text):
    theirs = written[1] / "stacks" / "cdk.tf.json"
    theirs.write_text(text) if text else theirs.unlink()
    with pytest.raises(BenchmarkError, match=r"Different.*stacks/cdk\.tf\.json"):
        synth.compare(*written)


def test_the_stack_that_is_measured_is_a_full_one(tmp_path):
    synth.pairs(tmp_path, {}, ExitStack())
    assert json.loads((tmp_path / "config.json").read_text())["backend"]["bucket"]
