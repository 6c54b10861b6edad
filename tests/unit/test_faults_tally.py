"""The tally of `make check-faults`: a failed run fails its part, with the command that repeats the run."""

import io
from collections import Counter

import pytest
from rich.console import Console

from tests.faults import task_records
from tests.faults.tally import RunResult, Tally, guarded, print_summary


def test_violation_in_one_run_fails_the_part_and_names_the_run(capsys):
    tally = Tally("setup", ["ran twice", "lost"], "by document")
    tally.add(1, RunResult(injected=Counter({"kill -9": 2}), retries=2), total=2)
    tally.check()
    tally.add(2, RunResult(injected=Counter({"kill -9": 1}), violations=Counter({"lost": 1})), total=2)
    with pytest.raises(
        AssertionError,
        match=r"1 of 2 runs of setup, by document failed\nrun 2: lost 1\nafter kill -9 1\n.*PART=setup ONLY=2",
    ):
        tally.check()
    assert "run 2 failed: lost 1" in capsys.readouterr().out
    output = io.StringIO()
    print_summary([tally], Console(file=output, width=150))
    for part in (
        "kill -9 3",
        "1 succeeded at the first try",
        "1 resumed, at most 2 times",
        "ran twice 0",
        "lost 1",
        "ONLY=2",
    ):
        assert part in output.getvalue()


def test_part_without_runs_fails():
    with pytest.raises(AssertionError, match="no run was done"):
        Tally("setup", []).check()


def test_exception_fails_the_run_and_undeclared_violations_are_refused():
    def run(number):
        raise ValueError(f"number {number}")

    assert "ValueError: number 3" in guarded(run, 3).failure
    with pytest.raises(AssertionError, match="undeclared violations"):
        Tally("setup", ["lost"]).add(1, RunResult(violations=Counter({"los": 0})))


@pytest.mark.parametrize(
    ("records", "reboots", "counts"),
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
def test_task_records_are_counted(records, reboots, counts):
    found = task_records.count(records.replace(",", "\n"), ["a", "b"], reboots)
    assert (found.lost, found.misplaced, found.repeated, found.restarted) == counts
