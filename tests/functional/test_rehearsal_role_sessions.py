"""Instance metadata, and what a script on an instance may do with the credentials of its role."""

import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from rehearsal.hosts.aws_sites import METADATA
from tests.functional.light import REGION, light_fleet

ROLE = "managed"
ASK = f"""
at=http://{METADATA}/latest
ask() {{ curl --silent --config - --output /dev/null --write-out '%{{http_code}} ' "$at/$1"; }}
token=$(curl --silent --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' $at/api/token)
get() {{ curl --silent --header "X-aws-ec2-metadata-token: $token" "$at/$1"; }}
"""


@pytest.fixture(scope="module")
def fleet():
    with light_fleet(2) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def secrets(fleet):
    """The ARNs of two secrets by name; the instances' role may read `own`."""
    client = fleet.client("secretsmanager")
    arns = {name: client.create_secret(Name=name, SecretString=f"text of {name}")["ARN"] for name in ("own", "foreign")}
    statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": arns["own"]}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    fleet.client("iam").put_role_policy(RoleName=ROLE, PolicyName="secret", PolicyDocument=json.dumps(policy))
    return arns


@pytest.fixture
def credentials(fleet):
    """New credentials of the role, from instance metadata."""
    return json.loads(fleet.shell(f"{ASK}get meta-data/iam/security-credentials/{ROLE}"))


@pytest.fixture
def as_role(fleet, credentials):
    """Makes a client with those credentials, or with changed ones."""

    def make(service="secretsmanager", **changed):
        keys = {**credentials, **changed}
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=fleet.sandbox.endpoint,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["Token"],
            config=Config(retries={"total_max_attempts": 1}),
        )

    return make


def refusal(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"]


def test_metadata_has_the_instance_id_the_region_and_the_role(fleet):
    script = f"{ASK}get meta-data/instance-id; echo; get meta-data/placement/region; echo"
    script += "; get meta-data/iam/security-credentials/"
    assert fleet.shell(script).split() == [fleet.instance_ids[0], REGION, ROLE]


@pytest.mark.attack("ask instance metadata for the role's credentials without a token")
def test_metadata_needs_a_token(fleet):
    paths = f"meta-data/iam/security-credentials/{ROLE}", "meta-data/instance-id"
    requests = "; ".join(f"ask {path} </dev/null" for path in paths)
    assert fleet.shell(ASK + requests).split() == ["401", "401"]


def test_a_metadata_token_needs_a_ttl_and_is_valid_on_one_instance(fleet):
    put = "echo 'request = \"PUT\"' | ask api/token"
    assert fleet.shell(ASK + put).split() == ["400"]
    token = fleet.shell(f'{ASK}echo "$token"').strip()
    header = f"echo 'header = \"X-aws-ec2-metadata-token: {token}\"' | ask meta-data/instance-id"
    assert fleet.shell(ASK + header, *fleet.instance_ids).split() == ["200", "401"]


def test_the_role_reads_the_secret_in_its_policy(as_role, secrets):
    assert as_role().get_secret_value(SecretId=secrets["own"])["SecretString"] == "text of own"


@pytest.mark.attack("reach the rehearsal's control API from a host, by the name of an AWS endpoint")
def test_hosts_cannot_reach_the_control_api(fleet):
    before = fleet.sandbox.control("status")["clock"]
    body = json.dumps({"advance_seconds": 864_000})
    url = f"https://secretsmanager.{REGION}.amazonaws.com/_rehearsal/clock"
    status = fleet.shell(
        f"curl --silent --insecure --data '{body}' --output /dev/null --write-out '%{{http_code}}' {url}"
    )
    assert status == "403"
    assert fleet.sandbox.control("status")["clock"][:7] == before[:7]


@pytest.mark.attack("read another secret with the credentials of the instance's role")
def test_the_role_cannot_read_other_secrets(as_role, secrets):
    client = as_role()
    assert refusal(client.get_secret_value, SecretId=secrets["foreign"]) == "AccessDeniedException"
    assert refusal(client.get_secret_value, SecretId="foreign") == "AccessDeniedException"
    assert refusal(client.put_secret_value, SecretId="own", SecretString="mine") == "AccessDeniedException"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"SecretAccessKey": "guessed"}, "InvalidSignatureException"),
        ({"Token": "guessed"}, "UnrecognizedClientException"),
    ],
)
def test_a_request_needs_the_secret_and_the_token_of_the_session(as_role, secrets, changed, code):
    assert refusal(as_role(**changed).get_secret_value, SecretId=secrets["own"]) == code
