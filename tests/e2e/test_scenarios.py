"""Each story that `invoke rehearse --scenario` tells, played to its end: what a user sees of a failure and the way on.

A story fails by itself where a command ends otherwise than it says; what is looked at here is what was said. `happy` is
in test_rehearse.
"""

import re
import subprocess
import sys

import pytest

from rehearsal.scenarios import SCENARIOS
from tests.e2e.conftest import PROJECT


def rehearse(*options):
    command = [sys.executable, "-m", "rehearsal.rehearse", *options]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture
def told(request):
    """What the scenario of the test's parameter printed, its output and its errors in their order."""
    command = f"exec {sys.executable} -m rehearsal.rehearse --scenario {request.param} 2>&1"
    done = subprocess.run(["sh", "-c", command], cwd=PROJECT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout
    assert f"Rehearsed {request.param} in " in done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def story(name):
    return pytest.mark.parametrize("told", [name], indirect=True)


def in_order(told, *sentences):
    """Whether each is there, after the one before."""
    at = 0
    for sentence in sentences:
        at = told.find(sentence, at)
        assert at >= 0, f"{sentence!r} is not there, or not after those before it, in:\n{told}"


@story("step-fails")
def test_a_failed_step_is_found_mended_and_taken_up(told):
    in_order(
        told,
        "12-configure-nginx               FAILED",
        "another program listens on port 80",
        "resume with: invoke setup",
        "(status 1)",
        "$ invoke setup.logs 12",
        'users:(("python3"',
        "11-configure-vscode-settings       skipped (finished)",
        "[12/17] 12-configure-nginx               done",
        "Setup complete: 6 tasks run, 11 already finished",
        "takes the password from Secrets Manager",
    )


@story("laptop-dies")
def test_a_laptop_that_dies_three_times_costs_nothing_twice(told):
    in_order(
        told,
        "(the laptop is dead)",
        "It is still not known whether",
        "(status 3)",
        "This block was bought already",
        "(the laptop is dead)",
        "Terraform's state is locked. Nothing was changed.",
        "$ terraform -chdir=",
        "Applied.",
        "(the laptop is dead)",
        "Attached to the setup under way",
        "17-verify-installation           done",
        "takes the password from Secrets Manager",
    )
    (block,) = set(re.findall(r"\bcr-[0-9a-f]{17}\b", told))
    ended = re.findall(
        r"^ *(?:\[.*\])? *(\d\d-[a-z0-9-]+) +done ", told.rpartition("(the laptop")[2], flags=re.MULTILINE
    )
    assert len(ended) == 17
    assert f"Capacity Block  {block}" in told


@story("block-not-active")
def test_a_block_that_has_not_begun_is_waited_for(told):
    in_order(told, "is scheduled, not active", "(status 2)", "Waiting for cr-", "is active now", "Applied.")


@story("wrong-zone")
def test_a_subnet_elsewhere_is_refused_and_the_right_one_found(told):
    refused = re.findall(r"subnet-\w+ is in sa-east-1a, and (?:the Capacity Block )?cr-\w+ is in sa-east-1b", told)
    assert len(refused) == 2
    in_order(told, "(status 2)", "(status 2)", "/capacity-block/sa-east-1/subnet-id", "Applied.", "in sa-east-1b")


@story("capacity-gone")
def test_what_is_gone_is_not_paid_and_a_full_block_says_who_is_on_it(told):
    in_order(
        told,
        "is not on sale in sa-east-1",
        "No Capacity Block on sale",
        "Bought: cr-",
        "has room for 0 of the 1 instances",
        "0 free",
        "Applied.",
    )
    assert told.count("Bought: ") == 1


@story("payment-fails")
def test_a_payment_that_fails_costs_nothing_and_the_next_purchase_is_another(told):
    in_order(
        told, "is lost: the payment failed", "payment failed: AWS has released", "will never be active", "starts in"
    )
    assert len(set(re.findall(r"^Bought: (cr-\w+)", told, flags=re.MULTILINE))) == 2


@story("block-ends")
def test_a_block_ends_and_the_data_goes_on(told):
    in_order(
        told,
        "instances are terminated in 10 min",
        "can no longer be extended",
        "-> AWS has terminated i-",
        "It was terminated",
        "is expired, not active",
        "Setup complete: 17 tasks run",
        "look                             done",
        "a day of work",
    )
    (volume,) = set(re.findall(r"\bvol-[0-9a-f]{17}\b", told))
    assert f"data volume     {volume}" in told


def test_a_rehearsal_that_is_kept_is_taken_up_where_it_was_left(tmp_path):
    kept = tmp_path / "kept"
    first = rehearse("--state", str(kept), "--suite", "none")
    assert first.returncode == 0, first.stderr
    again = rehearse("--state", str(kept), "--suite", "none")
    assert again.returncode == 0, again.stderr
    (block,) = set(re.findall(r"Bought: (cr-\w+)", first.stderr))
    (instance,) = set(re.findall(r"^instance +(i-\w+)", first.stdout, flags=re.MULTILINE))
    in_order(again.stdout, "Taken up: it is ", "$ invoke cb.list", block, instance)
    elsewhere = rehearse("--state", str(kept), "--region", "us-east-2")
    assert (elsewhere.returncode, elsewhere.stdout) == (2, "")
    assert "is in sa-east-1" in elsewhere.stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--scenario", "rainy-day"], "there is no scenario 'rainy-day'; there are happy, step-fails"),
        (["--scenario", "wrong-zone", "--once"], "are for the scenario happy"),
        (["--scenario", "step-fails", "--suite", "none"], "is about what happens on a host"),
        (["--state", "tests"], "tests is not empty, and there is no rehearsal in it"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(options, why):
    done = rehearse(*options)
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stdout == ""


def test_help_names_every_scenario():
    ours = rehearse("--help").stdout
    command = [sys.executable, "-m", "invoke", "rehearse", "--help"]
    users = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name, scenario in SCENARIOS.items():
        assert f"{name:<17} {scenario.summary}" in ours
        assert name in "".join(users.split())
