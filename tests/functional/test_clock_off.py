"""On a laptop with a wrong clock, errors say by how much it is wrong instead of "sign in again"."""

import datetime

import botocore.auth
import pytest

from rehearsal.conformance.freshness import refusal
from tests.functional.conftest import REGION
from tests.functional.support import DatetimeReplacement
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
    """Shifts the clock that botocore and the product read."""
    unshifted = getattr(errors, "datetime")  # noqa: B009 - the rehearsal's clock; not exported

    def shifted(by):
        sign = getattr(botocore.auth, "get_current_datetime")  # noqa: B009 - not in the stubs
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *args, **named: sign(*args, **named) + by)

        class Shifted(datetime.datetime, metaclass=DatetimeReplacement):
            @classmethod
            def now(cls, tz=None):
                return unshifted.now(tz) + by

        monkeypatch.setattr(errors, "datetime", Shifted)

    return shifted


@pytest.mark.attack("shifts the clock of the user's laptop")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("minutes", "offset"), [(-90, "90 minutes slow"), (20, "20 minutes fast")])
def test_wrong_clock_is_reported_with_its_offset(invoke, config, shift, command, minutes, offset):
    shift(datetime.timedelta(minutes=minutes))
    where = [] if "-r" in command else ["-r", REGION]
    done = invoke(*command, *where, status=2)
    assert f"this machine's clock is {offset}." in done.err
    assert "Set the clock" in done.err
    assert "Sign in" not in done.err
    assert done.err.count("Error:") == 1


def test_wrong_clock_is_recognized_in_the_error_of_s3(client, shift):
    s3 = client("s3")
    shift(datetime.timedelta(minutes=-20))
    with (
        pytest.raises(ClockError, match="Could not look: this machine's clock is 20 minutes slow") as refused,
        errors.calling("look"),
    ):
        s3.list_buckets()
    assert refused.value.code == "RequestTimeTooSkewed"


def test_small_clock_offset_is_accepted(invoke, config, shift):
    shift(datetime.timedelta(minutes=-4))
    invoke("cb.list", "-r", REGION)
    invoke("cb.load-params", "-r", REGION, status=2)  # nothing is saved


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("service", "window", "code", "status"),
    [
        ("ec2", 15, "RequestExpired", 400),
        ("s3", 15, "RequestTimeTooSkewed", 403),
        ("sts", 5, "SignatureDoesNotMatch", 403),
        ("iam", 5, "SignatureDoesNotMatch", 403),
        ("ssm", 5, "InvalidSignatureException", 400),
        ("secretsmanager", 5, "InvalidSignatureException", 400),
    ],
)
def test_requests_outside_the_time_window_of_a_service_are_refused(service, window, code, status, fast):
    offset = datetime.timedelta(minutes=window if fast else -window)
    assert refusal(service, NOW + offset, NOW) is None
    refused = refusal(service, NOW + offset * 1.01, NOW)
    assert (refused.code, refused.status) == (code, status)
