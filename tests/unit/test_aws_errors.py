import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from torchneuron.aws import Aws, calling
from torchneuron.errors import AccessError, AwsError, TorchNeuronError, UnreachableError


def client_error(code, message="", status=400, operation="RunInstances"):
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


@pytest.mark.parametrize(
    ("raised", "kind", "status", "told"),
    [
        (client_error("ExpiredToken"), AccessError, 2, "have expired"),
        (client_error("AuthFailure"), AccessError, 2, "does not know these credentials"),
        (client_error("UnauthorizedOperation"), AccessError, 2, "permission ec2:RunInstances is missing"),
        (
            client_error("AccessDeniedException", "User x is not authorized to perform: ssm:SendCommand on y"),
            AccessError,
            2,
            "permission ssm:SendCommand is missing",
        ),
        (client_error("InternalError", status=500), UnreachableError, 1, "fault of its own"),
        (client_error("InvalidParameterValue", "bad"), AwsError, 1, "InvalidParameterValue: bad"),
        (NoCredentialsError(), AccessError, 2, "no usable AWS credentials"),
        (EndpointConnectionError(endpoint_url="https://x"), UnreachableError, 1, "no answer"),
        (ReadTimeoutError(endpoint_url="https://x"), UnreachableError, 1, "no answer"),
    ],
)
def test_each_error_of_botocores_becomes_one_of_ours(raised, kind, status, told):
    with pytest.raises(TorchNeuronError) as caught, calling("do the thing"):
        raise raised
    assert type(caught.value) is kind
    assert caught.value.exit_status == status
    assert caught.value.what.startswith("Could not do the thing")
    assert told in str(caught.value)


def test_a_purchase_is_sent_once_and_lookups_are_repeated(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    aws = Aws("sa-east-1")
    assert aws.ec2_once().meta.config.retries["total_max_attempts"] == 1
    assert aws.ec2().meta.config.retries["total_max_attempts"] == 6
