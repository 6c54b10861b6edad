from typing import Any, cast

import pytest
from botocore.exceptions import (
    ClientError,
    ConfigParseError,
    CredentialRetrievalError,
    EndpointConnectionError,
    InvalidRetryModeError,
    LoginRefreshRequired,
    NoCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    UnauthorizedSSOTokenError,
)

from torchneuron.aws.errors import SEARCH_LIMIT, calling, is_about_sign_in, reading, utc
from torchneuron.aws.session import Aws
from torchneuron.core.errors import AccessError, AwsError, InputError, TorchNeuronError, UnreachableError


def client_error(code, message="", status=400, operation="RunInstances"):
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(cast(Any, response), operation)


@pytest.mark.parametrize(
    ("raised", "kind", "status", "message"),
    [
        (client_error("ExpiredToken"), AccessError, 2, "have expired"),
        (client_error("AuthFailure"), AccessError, 2, "does not accept these credentials"),
        (client_error("UnauthorizedOperation"), AccessError, 2, "permission ec2:RunInstances is missing"),
        (
            client_error("AccessDeniedException", "User x is not authorized to perform: ssm:SendCommand on y"),
            AccessError,
            2,
            "permission ssm:SendCommand is missing",
        ),
        (client_error("UnauthorizedOperation", None), AccessError, 2, "permission ec2:RunInstances is missing"),
        (client_error("RequestLimitExceeded", "Too fast.", status=503), AwsError, 1, "throttles requests"),
        (client_error(None, None, status=502), UnreachableError, 1, "internal error"),
        (client_error("InternalError", status=500), UnreachableError, 1, "internal error"),
        (client_error("InvalidParameterValue", "bad"), AwsError, 1, "InvalidParameterValue: bad"),
        (NoCredentialsError(), AccessError, 2, "no usable AWS credentials"),
        (CredentialRetrievalError(provider="process", error_msg="it failed"), AccessError, 2, "no usable AWS"),
        (LoginRefreshRequired(), AccessError, 2, "sign-in has expired"),
        (UnauthorizedSSOTokenError(), AccessError, 2, "aws sso login"),
        (ProfileNotFound(profile="x"), InputError, 2, "configuration is not usable"),
        (ConfigParseError(path="x"), InputError, 2, "configuration is not usable"),
        (
            InvalidRetryModeError(provided_retry_mode="x", valid_modes=[]),
            InputError,
            2,
            "configuration is not usable",
        ),
        (EndpointConnectionError(endpoint_url="https://x"), UnreachableError, 1, "no response"),
        (ReadTimeoutError(endpoint_url="https://x"), UnreachableError, 1, "no response"),
    ],
)
def test_each_error_of_botocores_becomes_one_of_ours(raised, kind, status, message):
    with pytest.raises(TorchNeuronError) as caught, calling("do the thing"):
        raise raised
    assert type(caught.value) is kind
    assert caught.value.exit_status == status
    assert caught.value.what.startswith("Could not do the thing")
    assert message in str(caught.value)


def test_our_own_attribute_error_is_not_a_response_of_aws():
    with pytest.raises(AttributeError), reading("do the thing"):
        raise AttributeError("'Block' object has no attribute 'ends'")


@pytest.mark.parametrize("value", [None, "2026-01-31T11:30:00Z"])
def test_time_of_another_type_is_an_unexpected_response(value):
    with pytest.raises(AwsError, match="unexpected response from AWS"), reading("do the thing"):
        utc(value)


def test_sessions_share_the_service_models(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    first, second = cast(Any, Aws("sa-east-1")), cast(Any, Aws("us-east-2"))
    assert first._session._loader is second._session._loader
    monkeypatch.setenv("AWS_DATA_PATH", "/models")
    assert "/models" in cast(Any, Aws("sa-east-1"))._session._loader.search_paths


def test_a_purchase_is_sent_once_and_lookups_are_repeated(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    aws = Aws("sa-east-1")
    assert cast(Any, aws.ec2_once().meta.config).retries["total_max_attempts"] == 1
    assert cast(Any, aws.ec2().meta.config).retries["total_max_attempts"] == 6


class Answer:
    """An answer to an HTTP request, as botocore reads it."""

    def __init__(self, status, body):
        self.status_code = status
        self.headers = {}
        self.content = self.text = body


LIMITED = Answer(
    400,
    b"<Response><Errors><Error><Code>CapacityBlockDescribeLimitExceeded</Code><Message>slow</Message></Error></Errors>"
    b"<RequestID>1</RequestID></Response>",
)
NOTHING = Answer(200, b"<R><capacityBlockOfferingSet/></R>")
REFUSED = Answer(400, LIMITED.content.replace(b"CapacityBlockDescribeLimitExceeded", b"InvalidParameterValue"))


@pytest.fixture
def search(monkeypatch):
    """Searches with the answers given, in their order; returns how long was waited before each but the first."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    def searched(answers, wait=lambda seconds: None):
        left, waited = list(answers), []

        def noted(seconds):
            waited.append(seconds)
            return wait(seconds)

        client = Aws("sa-east-1").ec2(wait=noted)
        client.meta.events.register("before-send.ec2", lambda **sent: left.pop(0))
        try:
            with calling("search"):
                client.describe_capacity_block_offerings(CapacityDurationHours=24)
        finally:
            assert left == []
        return waited

    return searched


def test_a_search_that_came_too_fast_is_repeated_after_ever_longer_pauses(search):
    waited = search([LIMITED, LIMITED, LIMITED, LIMITED, NOTHING])
    assert len(waited) == 4
    assert all(2**index <= seconds <= 2 * 2**index for index, seconds in enumerate(waited))


def test_the_search_limit_ends_the_attempts_when_it_persists(search):
    with pytest.raises(AwsError) as limited:
        search([LIMITED] * 5)
    assert limited.value.code == SEARCH_LIMIT


def test_an_interrupted_pause_ends_them_too(search):
    with pytest.raises(AwsError):
        search([LIMITED], wait=lambda seconds: True)


def test_any_other_refusal_is_not_repeated(search):
    with pytest.raises(AwsError) as refused:
        search([REFUSED])
    assert refused.value.code == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("error", "whether"),
    [
        (AccessError("No credentials."), True),
        (AccessError("Expired.", code="ExpiredToken"), True),
        (AccessError("No permission.", code="UnauthorizedOperation"), False),
        (AwsError("Too fast.", code=SEARCH_LIMIT), False),
    ],
)
def test_only_a_missing_sign_in_concerns_every_region(error, whether):
    assert is_about_sign_in(error) is whether


def test_a_region_that_aws_does_not_have_is_bad_input_and_a_near_name_is_proposed():
    with pytest.raises(InputError, match="no region 'sa-east-11'") as refused:
        Aws("sa-east-11")
    assert "sa-east-1" in refused.value.why


def test_an_endpoint_that_is_no_url_is_bad_input(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "garbage")
    with pytest.raises(InputError, match="Could not prepare to talk to ec2") as refused:
        Aws("sa-east-1").ec2()
    assert "AWS_ENDPOINT_URL" in refused.value.do
