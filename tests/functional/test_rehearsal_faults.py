"""Injected faults: what a client sees, and whether the request takes effect."""

import json
import time
import urllib.error

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from rehearsal.faults.settings import Faults
from tests.functional.support import refusal

REGION = "sa-east-1"


@pytest.fixture
def create(ssm):
    """Create a parameter."""
    return lambda: ssm.put_parameter(Name="/made", Value="1", Type="String")


@pytest.fixture
def exists(ssm):
    """Whether the parameter exists."""
    return lambda: bool(ssm.get_parameters(Names=["/made"])["Parameters"])


@pytest.mark.parametrize(("kind", "effect"), [("lost-before", False), ("lost-after", True)])
def test_lost_response_closes_the_connection(create, exists, fail, kind, effect):
    fail("PutParameter", kind)
    with pytest.raises(ConnectionClosedError):
        create()
    assert exists() == effect


@pytest.mark.parametrize(("kind", "effect"), [("server-error", False), ("server-error-after", True)])
def test_server_error_uses_the_protocol_of_the_service(create, exists, ec2, fail, faults, kind, effect):
    faults({"operation": "PutParameter", "kind": kind}, {"operation": "DescribeVpcs", "kind": kind})
    for call in (create, ec2.describe_vpcs):
        with pytest.raises(ClientError) as failed:
            call()
        assert failed.value.response["Error"]["Code"] == "InternalFailure"
        assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert exists() == effect


@pytest.fixture
def put(client):
    """Put an object into an S3 bucket."""
    s3 = client("s3")
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": REGION})
    return lambda: s3.put_object(Bucket="kept", Key="a/b", Body=b"1")


@pytest.fixture
def is_stored(client):
    """Whether the object exists."""
    return lambda: client("s3").list_objects_v2(Bucket="kept")["KeyCount"] == 1


@pytest.mark.parametrize(("kind", "effect"), [("lost-before", False), ("lost-after", True)])
def test_lost_response_of_s3_closes_the_connection(put, is_stored, fail, kind, effect):
    fail("PutObject", kind)
    with pytest.raises(ConnectionClosedError):
        put()
    assert is_stored() == effect


@pytest.mark.parametrize(("kind", "effect"), [("server-error", False), ("server-error-after", True)])
def test_server_error_of_s3_has_its_own_code(put, is_stored, fail, kind, effect):
    fail("s3:PutObject", kind)
    assert refusal(put) == "InternalError"
    assert is_stored() == effect
    put()
    assert is_stored()


def test_body_of_a_refused_request_is_not_read_as_the_next_request(client, put, fail):
    s3 = client("s3")
    fail("PutObject", "error", code="SlowDown", message="Reduce your request rate.", status=503)
    with pytest.raises(ClientError) as failed:
        s3.put_object(Bucket="kept", Key="c", Body=b"PUT /kept/never HTTP/1.1\r\n\r\n" * 9999)
    assert failed.value.response["Error"] == {"Code": "SlowDown", "Message": "Reduce your request rate."}
    assert "Contents" not in s3.list_objects_v2(Bucket="kept")


def test_injected_error_uses_the_protocol_of_each_service(client, faults):
    calls = {
        "iam:ListRoles": client("iam").list_roles,
        "kms:ListKeys": client("kms").list_keys,
        "s3:ListBuckets": client("s3").list_buckets,
        "secretsmanager:ListSecrets": client("secretsmanager").list_secrets,
        "servicequotas:ListServices": client("service-quotas").list_services,
        "sts:GetCallerIdentity": client("sts").get_caller_identity,
    }
    faults(*({"operation": operation, "kind": "error", "code": "AccessDenied", "status": 403} for operation in calls))
    for call in calls.values():
        assert refusal(call) == "AccessDenied"


def test_fault_of_one_service_does_not_affect_another(client, ssm, fail, control):
    fail("kms:TagResource", "error", code="KMSInternalException")
    arn = client("secretsmanager").create_secret(Name="mine", SecretString="x")["ARN"]
    client("secretsmanager").tag_resource(SecretId=arn, Tags=[{"Key": "a", "Value": "b"}])
    key = client("kms").create_key()["KeyMetadata"]["KeyId"]
    tags = [{"TagKey": "a", "TagValue": "b"}]
    assert refusal(client("kms").tag_resource, KeyId=key, Tags=tags) == "KMSInternalException"
    assert control("faults") == {"faults": []}


def test_bad_gateway_returns_html(create, exists, fail):
    fail("PutParameter", "bad-gateway-after")
    with pytest.raises(ClientError) as failed:
        create()
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 502
    assert exists()


def test_injected_error_has_the_given_code_message_and_status(ec2, fail):
    fail("DescribeVpcs", "error", code="RequestLimitExceeded", message="Request limit exceeded.", status=503)
    with pytest.raises(ClientError) as failed:
        ec2.describe_vpcs()
    assert failed.value.response["Error"]["Code"] == "RequestLimitExceeded"
    assert failed.value.response["Error"]["Message"] == "Request limit exceeded."
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_delayed_request_takes_effect_later(create, exists, fail):
    fail("PutParameter", "delay", seconds=0.3)
    started = time.monotonic()
    create()
    assert time.monotonic() - started >= 0.3
    assert exists()


def test_faults_apply_in_order_after_skips_and_are_used_up(ec2, faults, control):
    faults(
        {"operation": "DescribeVpcs", "kind": "error", "code": "First", "skip": 1, "times": 2},
        {"operation": "DescribeVpcs", "kind": "error", "code": "Second"},
    )
    ec2.describe_vpcs()
    ec2.describe_subnets()
    assert [fault["times"] for fault in control("faults")["faults"]] == [2, 1]
    codes = [refusal(ec2.describe_vpcs) for _ in range(3)]
    assert codes == ["First", "First", "Second"]
    assert control("faults") == {"faults": []}
    ec2.describe_vpcs()


def test_skip_delays_a_fault_to_the_nth_call(ec2, fail):
    fail("DescribeVpcs", "error", code="Third", skip=2)
    assert [outcome(ec2) for _ in range(4)] == ["", "", "Third", ""]


def test_probability_is_deterministic_for_the_same_seed_and_requests(ec2, faults):
    rule = {"operation": "DescribeVpcs", "kind": "error", "code": "Unlucky", "probability": 0.5, "times": None}

    def run():
        faults(rule)
        return [outcome(ec2) for _ in range(20)]

    first = run()
    assert set(first) == {"", "Unlucky"}
    assert run() == first


def test_another_seed_gives_other_faults():
    def hits(seed):
        faults = Faults(seed=seed)
        faults.set({"faults": [{"operation": "A", "kind": "delay", "probability": 0.3, "times": None}]})
        return [faults.meet("a", "A") is not None for _ in range(1000)]

    assert hits(1) == hits(1) != hits(2)
    assert 250 < sum(hits(1)) < 350


def test_next_fault_may_apply_when_one_does_not_and_only_applied_faults_are_used_up():
    faults = Faults()
    rules = [{"operation": "A", "kind": "error", "code": code, "probability": 0.5} for code in ("One", "Two")]
    faults.set({"faults": rules})
    met = [fault.code for _ in range(50) if (fault := faults.meet("a", "A"))]
    assert sorted(met) == ["One", "Two"]
    assert faults.shown() == {"faults": []}


def outcome(ec2):
    """The error code of a call, "" for success."""
    try:
        ec2.describe_vpcs()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def test_fault_without_a_count_lasts_until_a_reset(ec2, fail, control):
    fail("DescribeVpcs", "error", code="Always", times=None)
    assert {refusal(ec2.describe_vpcs) for _ in range(3)} == {"Always"}
    control("reset", {})
    ec2.describe_vpcs()


@pytest.mark.parametrize(
    "fault",
    [
        {"operation": "DescribeVpcs"},
        {"operation": "DescribeVpcs", "kind": "sulk"},
        {"operation": "DescribeVpc", "kind": "lost-after"},
        {"operation": "s3:DescribeVpcs", "kind": "lost-after"},
        {"operation": "ec3:DescribeVpcs", "kind": "lost-after"},
        {"operation": "DescribeVpcs", "kind": "error"},
        {"operation": "DescribeVpcs", "kind": "delay", "seconds": -1},
        {"operation": "DescribeVpcs", "kind": "delay", "seconds": True},
        {"operation": "DescribeVpcs", "kind": "lost-after", "times": 0},
        {"operation": "DescribeVpcs", "kind": "lost-after", "skip": 1.5},
        {"operation": "DescribeVpcs", "kind": "lost-after", "status": 200},
        {"operation": "DescribeVpcs", "kind": "lost-after", "often": 1},
        {"operation": "DescribeVpcs", "kind": "lost-after", "probability": 0},
        {"operation": "DescribeVpcs", "kind": "lost-after", "probability": 1.1},
        {"operation": "DescribeVpcs", "kind": "lost-after", "probability": True},
        {"operation": ["DescribeVpcs"], "kind": "lost-after"},
        "DescribeVpcs",
    ],
)
def test_invalid_faults_are_refused_without_a_change(ec2, fail, faults, control, fault):
    fail("DescribeVpcs", "error", code="Before")
    with pytest.raises(urllib.error.HTTPError) as refused:
        faults({"operation": "DescribeSubnets", "kind": "lost-after"}, fault)
    assert refused.value.code == 400
    assert "invalid fault" in (message := json.load(refused.value)["error"]) or "a fault has" in message
    assert [rule["code"] for rule in control("faults")["faults"]] == ["Before"]


@pytest.mark.parametrize("body", [{}, {"faults": {}}, {"faults": [], "more": 1}])
def test_invalid_body_is_refused(control, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        control("faults", body)
    assert "PurchaseCapacityBlock" in json.load(refused.value)["error"]
