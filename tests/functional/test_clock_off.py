"""A laptop whose clock is off: by how much, and in which direction, instead of "sign in again"."""

import datetime

import botocore.auth
import pytest

from rehearsal.conformance.freshness import refusal
from tests.functional.conftest import REGION
from torchneuron.aws import errors
from torchneuron.core.errors import ClockError

COMMANDS = [
    ["cb.list"],  # EC2
    ["cb.load-params"],  # Systems Manager
    ["bootstrap"],  # STS
    ["cb.search", "-r", "all"],
]
NOW = datetime.datetime(2026, 3, 2, 9, 0, tzinfo=datetime.timezone.utc)


@pytest.fixture
def shift(rehearsal_endpoint, monkeypatch):
    """Moves this machine's clock, as botocore and the product read it."""
    there = datetime.datetime

    def shifted(by):
        sign = getattr(botocore.auth, "get_current_datetime")  # noqa: B009 - not in the stubs
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *args, **named: sign(*args, **named) + by)

        class Shifted(datetime.datetime):
            @classmethod
            def now(cls, tz=None):
                return there.now(tz) + by

        monkeypatch.setattr(errors, "datetime", Shifted)

    return shifted


@pytest.mark.attack("works on a laptop whose clock is off")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("minutes", "told"), [(-90, "90 minutes slow"), (20, "20 minutes fast")])
def test_a_clock_that_is_off_is_named_with_by_how_much(invoke, config, shift, command, minutes, told):
    shift(datetime.timedelta(minutes=minutes))
    where = [] if "-r" in command else ["-r", REGION]
    done = invoke(*command, *where, status=2)
    assert f"this machine's clock is {told}." in done.err
    assert "Set the clock" in done.err
    assert "Sign in" not in done.err
    assert done.err.count("Error:") == 1


def test_s3_says_it_in_its_own_way(client, shift):
    s3 = client("s3")
    shift(datetime.timedelta(minutes=-20))
    with (
        pytest.raises(ClockError, match="Could not look: this machine's clock is 20 minutes slow") as refused,
        errors.calling("look"),
    ):
        s3.list_buckets()
    assert refused.value.code == "RequestTimeTooSkewed"


def test_a_clock_that_is_nearly_right_is_good_enough(invoke, config, shift):
    shift(datetime.timedelta(minutes=-4))
    invoke("cb.list", "-r", REGION)
    invoke("cb.load-params", "-r", REGION, status=2)  # nothing is saved


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("service", "most", "code", "status"),
    [
        ("ec2", 15, "RequestExpired", 400),
        ("s3", 15, "RequestTimeTooSkewed", 403),
        ("sts", 5, "SignatureDoesNotMatch", 403),
        ("iam", 5, "SignatureDoesNotMatch", 403),
        ("ssm", 5, "InvalidSignatureException", 400),
        ("secretsmanager", 5, "InvalidSignatureException", 400),
    ],
)
def test_how_late_a_service_takes_a_request_and_what_it_answers(service, most, code, status, fast):
    off = datetime.timedelta(minutes=most if fast else -most)
    assert refusal(service, NOW + off, NOW) is None
    refused = refusal(service, NOW + off * 1.01, NOW)
    assert (refused.code, refused.status) == (code, status)
