"""Each scenario of `invoke rehearse --scenario`, from start to end: what a user sees of a failure and how to continue.

A scenario fails by itself when a command does not end as expected. These tests check what was printed. `happy` is in
test_rehearse.
"""

import re
import subprocess
import sys

import pytest

from rehearsal.scenarios import SCENARIOS
from tests.e2e.conftest import PROJECT


def rehearse(*options):
    command = [sys.executable, "-m", "rehearsal.rehearse", "--with-parent", *options]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture
def output(request):
    """What the scenario of the test's parameter printed, to standard output and error."""
    command = [sys.executable, "-m", "rehearsal.rehearse", "--with-parent", "--scenario", request.param]
    done = subprocess.run(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout
    assert f"Rehearsed {request.param} in " in done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def scenario(name):
    return pytest.mark.parametrize("output", [name], indirect=True)


def assert_in_order(output, *sentences):
    at = 0
    for sentence in sentences:
        at = output.find(sentence, at)
        assert at >= 0, f"{sentence!r} is missing, or comes before the previous sentence, in:\n{output}"


@scenario("step-fails")
def test_failed_step_is_found_and_fixed_and_setup_resumes(output):
    assert_in_order(
        output,
        "12-configure-nginx               FAILED",
        "another program listens on port 80",
        "resume with: invoke setup",
        "(status 1)",
        "$ invoke setup.logs 12",
        'users:(("python3"',
        "11-configure-vscode-settings       skipped (finished)",
        "[12/17] 12-configure-nginx               done",
        "Setup complete: 6 tasks run, 11 already finished",
        "accepts the password from Secrets Manager",
    )


@scenario("laptop-dies")
def test_laptop_that_dies_three_times_buys_one_block(output):
    assert_in_order(
        output,
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
        "accepts the password from Secrets Manager",
    )
    (block,) = set(re.findall(r"\bcr-[0-9a-f]{17}\b", output))
    ended = re.findall(
        r"^ *(?:\[.*\])? *(\d\d-[a-z0-9-]+) +done ", output.rpartition("(the laptop")[2], flags=re.MULTILINE
    )
    assert len(ended) == 17
    assert f"Capacity Block  {block}" in output


@scenario("block-not-active")
def test_block_that_is_not_active_is_waited_for(output):
    assert_in_order(output, "is scheduled, not active", "(status 2)", "Waiting for cr-", "is active now", "Applied.")


@scenario("wrong-zone")
def test_subnet_in_another_zone_is_refused_and_the_right_one_found(output):
    refused = re.findall(r"subnet-\w+ is in sa-east-1a, and (?:the Capacity Block )?cr-\w+ is in sa-east-1b", output)
    assert len(refused) == 2
    assert_in_order(
        output, "(status 2)", "(status 2)", "/capacity-block/sa-east-1/subnet-id", "Applied.", "in sa-east-1b"
    )


@scenario("capacity-gone")
def test_sold_out_offering_is_not_paid_and_full_block_is_refused(output):
    assert_in_order(
        output,
        "is not on sale in sa-east-1",
        "No Capacity Block on sale",
        "Bought: cr-",
        "has room for 0 of the 1 instances",
        "0 free",
        "Applied.",
    )
    assert output.count("Bought: ") == 1


@scenario("payment-fails")
def test_failed_payment_costs_nothing_and_a_second_purchase_is_made(output):
    assert_in_order(
        output, "is lost: the payment failed", "payment failed: AWS has released", "will never be active", "starts in"
    )
    assert len(set(re.findall(r"^Bought: (cr-\w+)", output, flags=re.MULTILINE))) == 2


@scenario("block-ends")
def test_data_outlives_the_block(output):
    assert_in_order(
        output,
        "instances are terminated in 10 min",
        "can no longer be extended",
        "-> AWS has terminated i-",
        "It was terminated",
        "is expired, not active",
        "Setup complete: 17 tasks run",
        "look                             done",
        "a day of work",
    )
    (volume,) = set(re.findall(r"\bvol-[0-9a-f]{17}\b", output))
    assert f"data volume     {volume}" in output


def test_kept_rehearsal_is_resumed(tmp_path):
    kept = tmp_path / "kept"
    first = rehearse("--state", str(kept), "--suite", "none")
    assert first.returncode == 0, first.stderr
    again = rehearse("--state", str(kept), "--suite", "none")
    assert again.returncode == 0, again.stderr
    (block,) = set(re.findall(r"Bought: (cr-\w+)", first.stderr))
    (instance,) = set(re.findall(r"^instance +(i-\w+)", first.stdout, flags=re.MULTILINE))
    assert_in_order(again.stdout, "Resumed: the rehearsal's clock is at ", "$ invoke cb.list", block, instance)
    elsewhere = rehearse("--state", str(kept), "--region", "us-east-2")
    assert (elsewhere.returncode, elsewhere.stdout) == (2, "")
    assert "is in sa-east-1" in elsewhere.stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--scenario", "rainy-day"], "unknown scenario 'rainy-day'; choose one of happy, step-fails"),
        (["--scenario", "wrong-zone", "--once"], "are only valid for the scenario happy"),
        (["--scenario", "step-fails", "--suite", "none"], "needs a host"),
        (["--state", "tests"], "tests is not empty and holds no rehearsal"),
    ],
)
def test_invalid_options_are_refused(options, why):
    done = rehearse(*options)
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stdout == ""


def test_help_lists_every_scenario():
    ours = rehearse("--help").stdout
    command = [sys.executable, "-m", "invoke", "rehearse", "--help"]
    users = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name, scenario in SCENARIOS.items():
        assert f"{name:<17} {scenario.summary}" in ours
        assert name in "".join(users.split())
