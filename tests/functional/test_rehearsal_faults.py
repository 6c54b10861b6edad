"""Faults on request: what a client sees of each, and whether AWS carried the request out all the same."""

import json
import time
import urllib.error

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from rehearsal.faults.settings import Faults
from tests.functional.support import refusal

REGION = "sa-east-1"


@pytest.fixture
def make(ssm):
    """Makes a parameter; and whether it is there."""
    return lambda: ssm.put_parameter(Name="/made", Value="1", Type="String")


@pytest.fixture
def made(ssm):
    return lambda: bool(ssm.get_parameters(Names=["/made"])["Parameters"])


@pytest.mark.parametrize(("kind", "effect"), [("lost-before", False), ("lost-after", True)])
def test_a_lost_answer_is_a_closed_connection(make, made, fail, kind, effect):
    fail("PutParameter", kind)
    with pytest.raises(ConnectionClosedError):
        make()
    assert made() == effect


@pytest.mark.parametrize(("kind", "effect"), [("server-error", False), ("server-error-after", True)])
def test_a_fault_of_its_own_is_in_the_services_protocol(make, made, ec2, fail, faults, kind, effect):
    faults({"operation": "PutParameter", "kind": kind}, {"operation": "DescribeVpcs", "kind": kind})
    for call in (make, ec2.describe_vpcs):
        with pytest.raises(ClientError) as failed:
            call()
        assert failed.value.response["Error"]["Code"] == "InternalFailure"
        assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert made() == effect


@pytest.fixture
def keep(client):
    """Puts an object into a bucket of S3; and whether it is there."""
    s3 = client("s3")
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": REGION})
    return lambda: s3.put_object(Bucket="kept", Key="a/b", Body=b"1")


@pytest.fixture
def kept(client):
    return lambda: client("s3").list_objects_v2(Bucket="kept")["KeyCount"] == 1


@pytest.mark.parametrize(("kind", "effect"), [("lost-before", False), ("lost-after", True)])
def test_s3_loses_answers_too(keep, kept, fail, kind, effect):
    fail("PutObject", kind)
    with pytest.raises(ConnectionClosedError):
        keep()
    assert kept() == effect


@pytest.mark.parametrize(("kind", "effect"), [("server-error", False), ("server-error-after", True)])
def test_s3_has_a_code_of_its_own_for_its_faults(keep, kept, fail, kind, effect):
    fail("s3:PutObject", kind)
    assert refusal(keep) == "InternalError"
    assert kept() == effect
    keep()
    assert kept()


def test_what_was_sent_with_a_refused_request_is_not_taken_for_the_next_one(client, keep, fail):
    s3 = client("s3")
    fail("PutObject", "error", code="SlowDown", message="Reduce your request rate.", status=503)
    with pytest.raises(ClientError) as failed:
        s3.put_object(Bucket="kept", Key="c", Body=b"PUT /kept/never HTTP/1.1\r\n\r\n" * 9999)
    assert failed.value.response["Error"] == {"Code": "SlowDown", "Message": "Reduce your request rate."}
    assert "Contents" not in s3.list_objects_v2(Bucket="kept")


def test_every_service_refuses_in_its_own_protocol(client, faults):
    calls = {
        "iam:ListRoles": client("iam").list_roles,
        "kms:ListKeys": client("kms").list_keys,
        "s3:ListBuckets": client("s3").list_buckets,
        "secretsmanager:ListSecrets": client("secretsmanager").list_secrets,
        "servicequotas:ListServices": client("service-quotas").list_services,
        "sts:GetCallerIdentity": client("sts").get_caller_identity,
    }
    faults(*({"operation": one, "kind": "error", "code": "AccessDenied", "status": 403} for one in calls))
    for call in calls.values():
        assert refusal(call) == "AccessDenied"


def test_a_fault_of_one_service_is_not_anothers(client, ssm, fail, control):
    fail("kms:TagResource", "error", code="KMSInternalException")
    arn = client("secretsmanager").create_secret(Name="mine", SecretString="x")["ARN"]
    client("secretsmanager").tag_resource(SecretId=arn, Tags=[{"Key": "a", "Value": "b"}])
    key = client("kms").create_key()["KeyMetadata"]["KeyId"]
    tags = [{"TagKey": "a", "TagValue": "b"}]
    assert refusal(client("kms").tag_resource, KeyId=key, Tags=tags) == "KMSInternalException"
    assert control("faults") == {"faults": []}


def test_what_stands_between_answers_in_html(make, made, fail):
    fail("PutParameter", "bad-gateway-after")
    with pytest.raises(ClientError) as failed:
        make()
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 502
    assert made()


def test_a_refusal_says_what_it_was_told_to(ec2, fail):
    fail("DescribeVpcs", "error", code="RequestLimitExceeded", message="Request limit exceeded.", status=503)
    with pytest.raises(ClientError) as failed:
        ec2.describe_vpcs()
    assert failed.value.response["Error"]["Code"] == "RequestLimitExceeded"
    assert failed.value.response["Error"]["Message"] == "Request limit exceeded."
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_a_delayed_request_is_carried_out_later(make, made, fail):
    fail("PutParameter", "delay", seconds=0.3)
    begun = time.monotonic()
    make()
    assert time.monotonic() - begun >= 0.3
    assert made()


def test_faults_are_met_in_order_after_those_skipped_and_used_up(ec2, faults, control):
    faults(
        {"operation": "DescribeVpcs", "kind": "error", "code": "First", "skip": 1, "times": 2},
        {"operation": "DescribeVpcs", "kind": "error", "code": "Second"},
    )
    ec2.describe_vpcs()
    ec2.describe_subnets()
    assert [one["times"] for one in control("faults")["faults"]] == [2, 1]
    codes = [refusal(ec2.describe_vpcs) for _ in range(3)]
    assert codes == ["First", "First", "Second"]
    assert control("faults") == {"faults": []}
    ec2.describe_vpcs()


def test_the_nth_call_is_the_one_after_those_skipped(ec2, fail):
    fail("DescribeVpcs", "error", code="Third", skip=2)
    assert [outcome(ec2) for _ in range(4)] == ["", "", "Third", ""]


def test_odds_are_the_same_for_the_same_seed_and_requests(ec2, faults):
    rule = {"operation": "DescribeVpcs", "kind": "error", "code": "Unlucky", "probability": 0.5, "times": None}

    def run():
        faults(rule)
        return [outcome(ec2) for _ in range(20)]

    first = run()
    assert set(first) == {"", "Unlucky"}
    assert run() == first


def test_another_seed_has_other_luck():
    def lucky(seed):
        faults = Faults(seed=seed)
        faults.set({"faults": [{"operation": "A", "kind": "delay", "probability": 0.3, "times": None}]})
        return [faults.meet("a", "A") is not None for _ in range(1000)]

    assert lucky(1) == lucky(1) != lucky(2)
    assert 250 < sum(lucky(1)) < 350


def test_who_is_spared_by_one_fault_may_meet_the_next_and_only_those_met_count():
    faults = Faults()
    rules = [{"operation": "A", "kind": "error", "code": code, "probability": 0.5} for code in ("One", "Two")]
    faults.set({"faults": rules})
    met = [fault.code for _ in range(50) if (fault := faults.meet("a", "A"))]
    assert sorted(met) == ["One", "Two"]
    assert faults.shown() == {"faults": []}


def outcome(ec2):
    """The code of the fault that a call meets, "" for none."""
    try:
        ec2.describe_vpcs()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def test_without_a_number_it_never_ends_until_reset(ec2, fail, control):
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
    assert "invalid fault" in (told := json.load(refused.value)["error"]) or "a fault has" in told
    assert [one["code"] for one in control("faults")["faults"]] == ["Before"]


@pytest.mark.parametrize("body", [{}, {"faults": {}}, {"faults": [], "more": 1}])
def test_a_body_that_is_no_list_of_faults_is_refused(control, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        control("faults", body)
    assert "PurchaseCapacityBlock" in json.load(refused.value)["error"]
