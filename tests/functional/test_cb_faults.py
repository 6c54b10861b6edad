"""Faults of AWS and the network: one message, the right exit status, nothing bought twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.functional.support import eventually

ROOT = Path(__file__).resolve().parents[2]
REGION = "sa-east-1"


@pytest.fixture
def owned(ec2, faults):
    """Ends all faults, and returns the ids of the blocks that were bought."""

    def look():
        faults()
        return [
            block["CapacityReservationId"] for block in ec2.describe_capacity_reservations()["CapacityReservations"]
        ]

    return look


@pytest.fixture
def arrived(control):
    """Whether the fault has been applied to a request."""
    return lambda: control("faults") == {"faults": []}


@pytest.fixture
def buy(invoke, proposed):
    def buy(status=0):
        return invoke("cb.purchase", "--offering-id", proposed[0], "-r", REGION, "--yes", "--no-save", status=status)

    return buy


def purchase_fails(kind, **more):
    return {"operation": "PurchaseCapacityBlock", "kind": kind, **more}


@pytest.mark.parametrize("kind", ["lost-after", "server-error-after", "bad-gateway-after"])
def test_purchase_is_not_repeated_when_the_response_is_lost(buy, faults, owned, kind):
    faults(purchase_fails(kind))
    done = buy()
    (reservation,) = owned()
    assert f"{reservation} is yours" in done.out


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            purchase_fails("error", code="RequestLimitExceeded", message="Request limit exceeded.", status=503),
            "RequestLimitExceeded",
        ),
        (
            purchase_fails("error", code="InvalidCapacityBlockOfferingIdExpired", message="Gone."),
            "the offering is no longer on sale",
        ),
        (purchase_fails("error", code="InsufficientInstanceCapacity", message="None."), "invoke cb.search"),
        (purchase_fails("error", code="InstanceLimitExceeded", message="Too many."), "L-64569A79"),
        (purchase_fails("error", code="PendingVerification", message="Later."), "up to 4 hours"),
        (purchase_fails("error", code="SomethingElse", message="No."), "Search again with invoke cb.search."),
    ],
)
def test_refused_request_bought_nothing(buy, faults, owned, fault, message):
    faults(fault)
    done = buy(status=1)
    assert "Nothing was bought" in done.err
    assert message in done.err
    assert owned() == []
    buy()
    assert len(owned()) == 1


@pytest.mark.parametrize("kind", ["lost-before", "server-error"])
def test_unknown_outcome_names_the_lookup_command(buy, faults, owned, kind, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)  # a minute of lookups
    faults(purchase_fails(kind))
    done = buy(status=3)
    assert "It is not known whether" in done.err
    assert "aws ec2 describe-capacity-reservations --region sa-east-1" in done.err
    faults()
    assert "still not known" in buy(status=3).err
    assert owned() == []


DENIED = "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/x is not authorized"
# EC2 and Systems Manager have their own codes for the same error.
SIGN_IN = [
    ("DescribeCapacityBlockOfferings", "RequestExpired", "the AWS credentials have expired"),
    ("DescribeCapacityBlockOfferings", "AuthFailure", "AWS does not accept these credentials here"),
    ("DescribeCapacityReservations", "RequestExpired", "the AWS credentials have expired"),
    ("DescribeCapacityReservations", "AuthFailure", "AWS does not accept these credentials here"),
    ("GetParameters", "ExpiredTokenException", "the AWS credentials have expired"),
    ("GetParameters", "UnrecognizedClientException", "AWS does not accept these credentials here"),
]
COMMANDS = {
    "DescribeCapacityBlockOfferings": ["cb.search"],
    "DescribeCapacityReservations": ["cb.list"],
    "GetParameters": ["cb.load-params"],
}


@pytest.mark.parametrize(("operation", "code", "message"), SIGN_IN)
def test_failed_sign_in_is_one_message(invoke, fail, operation, code, message):
    fail(operation, "error", times=None, code=code)
    done = invoke(*COMMANDS[operation], "-r", REGION, status=2)
    assert message in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


@pytest.mark.parametrize("message", ["You are not authorized to perform this operation.", "{denied}"])
@pytest.mark.parametrize("operation", ["DescribeCapacityBlockOfferings", "DescribeCapacityReservations"])
def test_missing_permission_is_named(invoke, fail, operation, message):
    message = message.format(denied=f"{DENIED} to perform: ec2:{operation} because no policy allows it")
    fail(operation, "error", times=None, code="UnauthorizedOperation", message=message)
    done = invoke(*COMMANDS[operation], "-r", REGION, status=2)
    assert f"the permission ec2:{operation} is missing" in done.err


def test_missing_credentials_are_one_message(invoke, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for command in COMMANDS.values():
        done = invoke(*command, "-r", REGION, status=2)
        assert "no usable AWS credentials" in done.err
        assert done.out == ""


def test_run_after_a_kill_during_the_request_reports_the_purchase(buy, proposed, faults, arrived, owned, config):
    faults(purchase_fails("delay", seconds=600))
    process = started(["cb.purchase", "--offering-id", proposed[0], "-r", REGION, "--yes", "--no-save"])
    eventually(arrived)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    faults()
    eventually(owned)
    done = buy()
    (reservation,) = owned()
    assert f"bought already: {reservation}" in done.err
    assert f"{reservation} is yours" in done.out
    assert list(config.state_dir.glob("purchase-*.json")) == []


def test_run_after_a_kill_and_a_lost_request_does_not_buy(buy, proposed, faults, arrived, owned):
    faults(purchase_fails("lost-before"))
    process = started(["cb.purchase", "--offering-id", proposed[0], "-r", REGION, "--yes", "--no-save"])
    eventually(arrived)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert owned() == []
    assert "still not known" in buy(status=3).err


def started(arguments):
    """A command in its own process, which can be killed."""
    command = [sys.executable, "-m", "invoke", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.parametrize("malformed", ["cb-1", "cr-0123456789abcdef0", "cb-0123456789abcdef0; true"])
def test_malformed_id_is_refused_before_any_call(invoke, fail, malformed):
    fail("DescribeCapacityReservations", "error", code="NothingShouldBeAsked", times=None)
    assert "is not an id for --offering-id" in invoke("cb.purchase", "--offering-id", malformed, status=2).err
