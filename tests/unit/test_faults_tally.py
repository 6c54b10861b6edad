"""The counting behind `make check-faults`: what a run found wrong fails the part, and says how to see it again."""

import io
from collections import Counter

import pytest
from rich.console import Console

from tests.faults import machines
from tests.faults.tally import Found, Tally, guarded, print_summary


def test_harm_in_one_run_fails_the_part_and_names_the_run(capsys):
    tally = Tally("setup", ["ran twice", "lost"], "by document")
    tally.take(1, Found(did=Counter({"kill -9": 2}), again=2), of=2)
    tally.check()
    tally.take(2, Found(did=Counter({"kill -9": 1}), harms=Counter({"lost": 1})), of=2)
    with pytest.raises(
        AssertionError,
        match=r"1 of 2 runs of setup, by document went wrong\nrun 2: lost 1\nafter kill -9 1\n.*PART=setup ONLY=2",
    ):
        tally.check()
    assert "run 2 went wrong: lost 1" in capsys.readouterr().out
    told = io.StringIO()
    print_summary([tally], Console(file=told, width=150))
    for part in (
        "kill -9 3",
        "1 ended at the first go",
        "1 taken up, at most 2 times",
        "ran twice 0",
        "lost 1",
        "ONLY=2",
    ):
        assert part in told.getvalue()


def test_a_part_that_played_nothing_shows_nothing():
    with pytest.raises(AssertionError, match="nothing was run"):
        Tally("setup", []).check()


def test_a_run_that_raises_is_broken_and_a_harm_that_nobody_looks_for_is_refused():
    def run(number):
        raise ValueError(f"number {number}")

    assert "ValueError: number 3" in guarded(run, 3).broken
    with pytest.raises(AssertionError, match="looked for"):
        Tally("setup", ["lost"]).take(1, Found(harms=Counter({"los": 0})))


@pytest.mark.parametrize(
    ("notes", "reboots", "story"),
    [
        ("begin a,end a,begin b,end b", 0, (0, 0, 0, 0)),
        ("begin a,end a,begin b", 0, (1, 0, 0, 0)),
        ("begin b,end b,begin a,end a", 0, (0, 2, 0, 0)),
        ("begin a,end a,begin b,begin b,end b", 1, (0, 0, 0, 1)),
        ("begin a,end a,begin b,begin b,end b", 0, (0, 0, 1, 1)),
        ("begin a,end a,begin b,end b,begin a,end a", 1, (0, 1, 0, 0)),
        ("begin a,end a,begin b,end b,begin c,end c", 0, (0, 1, 0, 0)),
    ],
)
def test_what_machines_note_is_read_for_what_must_not_be(notes, reboots, story):
    read = machines.read(notes.replace(",", "\n"), ["a", "b"], reboots)
    assert (read.lost, read.misplaced, read.twice, read.again) == story
