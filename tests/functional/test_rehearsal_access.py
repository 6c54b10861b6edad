"""Authentication in a rehearsal: local users without the key and web pages have no access."""

import http.client
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from rehearsal.client import Access, AccessError
from tests.functional.signing import keys_of, signed
from tests.functional.support import eventually, refusal

PROJECT = Path(__file__).resolve().parents[2]
REGION = "sa-east-1"
NOBODY = 65534
ORIGIN = "http://pages.example"
VPCS = "Action=DescribeVpcs&Version=2016-11-15"
CALLS = {
    "ec2": lambda ec2: ec2.describe_vpcs(),
    "sts": lambda sts: sts.get_caller_identity(),
    "ssm": lambda ssm: ssm.describe_instance_information(),
    "s3": lambda s3: s3.list_buckets(),
    "scheduler": lambda scheduler: scheduler.list_schedules(),
}


@pytest.fixture
def send(rehearsal_endpoint):
    """Sends a request as is: `send("POST", "/path", body, {"Origin": …})`; returns status, headers and body."""

    def go(method, path, body="", headers=None):
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(rehearsal_endpoint).netloc, timeout=30)
        try:
            connection.request(method, path, body.encode(), headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()

    return go


@pytest.fixture
def authorized(server, rehearsal_endpoint):
    """The headers of a `POST / VPCS` that is signed with the rehearsal's key."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return signed(keys_of(server.access), "ec2", f"{rehearsal_endpoint}/", VPCS, form)


def client_with(access, service, key_id=None, secret=None, token=None, **config):
    keys = key_id or access.access_key_id, secret or access.secret_access_key
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=access.endpoint,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


@pytest.mark.attack("call the rehearsal's AWS without credentials")
@pytest.mark.parametrize("service", ["ec2", "sts", "ssm", "s3"])
def test_unsigned_requests_are_refused(server, rehearsal_endpoint, service):
    """Such requests name no service, so moto assigns them to S3."""
    with pytest.raises(ClientError) as refused:
        CALLS[service](client_with(server.access, service, signature_version=UNSIGNED))
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.attack("get a key for nothing: AssumeRoleWithWebIdentity with a made-up token")
def test_assume_role_with_web_identity_needs_a_signature(server, rehearsal_endpoint):
    sts = client_with(server.access, "sts")
    role = {"RoleArn": "arn:aws:iam::123456789012:role/any", "RoleSessionName": "me", "WebIdentityToken": "made-up"}
    assert refusal(sts.assume_role_with_web_identity, **role) == "MissingAuthenticationToken"


@pytest.mark.attack("call the rehearsal's AWS with a made-up access key, or with the key's id and a made-up secret")
@pytest.mark.parametrize(
    ("service", "unknown", "mismatch", "status"),
    [
        ("ec2", "AuthFailure", "AuthFailure", 401),
        ("sts", "InvalidClientTokenId", "SignatureDoesNotMatch", 403),
        ("ssm", "UnrecognizedClientException", "InvalidSignatureException", 400),
        ("s3", "InvalidAccessKeyId", "SignatureDoesNotMatch", 403),
        ("scheduler", "UnrecognizedClientException", "InvalidSignatureException", 403),
    ],
)
def test_wrong_keys_are_refused_with_the_errors_of_aws(server, rehearsal_endpoint, service, unknown, mismatch, status):
    for keys, code in (({"key_id": "AKIAREHEARSAL0000000"}, unknown), ({"secret": "rehearsal"}, mismatch)):
        with pytest.raises(ClientError) as refused:
            CALLS[service](client_with(server.access, service, **keys))
        answer = refused.value.response
        assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    CALLS[service](client_with(server.access, service))


def test_issued_keys_are_accepted_until_they_are_deactivated(server, client):
    iam, sts = client("iam"), client("sts")
    iam.create_user(UserName="someone")
    key = iam.create_access_key(UserName="someone")["AccessKey"]
    user = client_with(server.access, "sts", key["AccessKeyId"], key["SecretAccessKey"])
    assert user.get_caller_identity()["Arn"].endswith(":user/someone")
    iam.update_access_key(UserName="someone", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert refusal(user.get_caller_identity) == "InvalidClientTokenId"

    role = {"RoleArn": "arn:aws:iam::123456789012:role/any", "RoleSessionName": "me"}
    for session in (sts.assume_role(**role)["Credentials"], sts.get_session_token()["Credentials"]):
        keys = session["AccessKeyId"], session["SecretAccessKey"]
        client_with(server.access, "sts", *keys, session["SessionToken"]).get_caller_identity()
        for token in (None, "another"):
            assert (
                refusal(client_with(server.access, "sts", *keys, token).get_caller_identity) == "InvalidClientTokenId"
            )


@pytest.mark.attack("get more than a user's permissions by GetSessionToken")
def test_a_session_of_a_user_has_the_permissions_of_the_user(server, client):
    iam = client("iam")
    iam.create_user(UserName="someone")
    key = iam.create_access_key(UserName="someone")["AccessKey"]
    user = client_with(server.access, "sts", key["AccessKeyId"], key["SecretAccessKey"])
    session = user.get_session_token()["Credentials"]
    keys = session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"]
    as_session = client_with(server.access, "ec2", *keys)
    assert refusal(as_session.describe_vpcs) == "UnauthorizedOperation"
    again = client_with(server.access, "sts", *keys).get_session_token()["Credentials"]
    keys = again["AccessKeyId"], again["SecretAccessKey"], again["SessionToken"]
    assert refusal(client_with(server.access, "ec2", *keys).describe_vpcs) == "UnauthorizedOperation"
    iam.delete_access_key(UserName="someone", AccessKeyId=key["AccessKeyId"])
    assert refusal(as_session.describe_vpcs) == "AuthFailure"


@pytest.mark.parametrize("key", ["plain", "a space, + and ä", "deep/er/~x_y-z.1=2&3", "a//b", "a%2Fb"])
def test_signatures_cover_s3_keys_of_every_form(client, key):
    s3 = client("s3")
    s3.create_bucket(Bucket="signed", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="signed", Key=key, Body=b"content", Metadata={"with_line": "a  b", "ascii": "c"})
    assert s3.get_object(Bucket="signed", Key=key)["Body"].read() == b"content"
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="signed", Prefix=key)["Contents"]] == [key]


def test_a_presigned_url_works_and_a_changed_one_does_not(server, rehearsal_endpoint):
    s3 = client_with(server.access, "s3", signature_version="s3v4")
    s3.create_bucket(Bucket="signed", CreateBucketConfiguration={"LocationConstraint": REGION})
    for name in ("mine", "other"):
        s3.put_object(Bucket="signed", Key=name, Body=name.encode())
    url = s3.generate_presigned_url("get_object", {"Bucket": "signed", "Key": "mine"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"mine"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url.replace("/mine", "/other"))
    assert refused.value.code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"Authorization": "Bearer x"},
        {"Authorization": "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=b"},
        {"Authorization": "AWS4-HMAC-SHA256 Credential=x, Credential=y, SignedHeaders=host, Signature=b"},
        {"X-Amz-Date": "19990101T000000Z"},
    ],
)
def test_malformed_signatures_are_refused(send, authorized, change):
    status, _, body = send("POST", "/", VPCS, {**authorized, **change})
    assert status in (400, 401, 403), body
    assert "vpc-" not in body


@pytest.mark.attack("change a signed request")
def test_a_signed_request_cannot_be_changed(send, authorized):
    assert send("POST", "/", VPCS, authorized)[0] == 200
    assert send("POST", "/", VPCS.replace("DescribeVpcs", "DescribeSubnets"), authorized)[0] == 401


@pytest.mark.attack("use the rehearsal's control API without its token, or with a made-up one")
@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer x", "Basic x", "Bearer \xe4"])
def test_the_control_api_needs_its_token(send, control, server, token):
    before = control("status")["clock"]
    headers = {} if token is None else {"Authorization": token.encode("latin-1")}
    for method, path, body in (
        ("GET", "status", ""),
        ("GET", "nothing", ""),
        ("POST", "clock", '{"advance_seconds": 86400}'),
        ("POST", "reset", "{}"),
    ):
        assert send(method, f"/_rehearsal/{path}", body, headers)[0] == 401
    assert control("status")["clock"][:10] == before[:10]
    assert send("GET", "/_rehearsal/status", "", {"Authorization": f"Bearer {server.access.token}"})[0] == 200


FOREIGN = [
    {"Origin": ORIGIN},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": "pages.example"},
    {"Host": "127.0.0.1"},
    {"Host": "pages.example, 127.0.0.1"},
    {"Host": ""},
]


@pytest.mark.attack("reach the rehearsal from a web page, also by DNS rebinding, with its key and token known")
@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_requests_from_web_pages_are_refused(send, server, rehearsal_endpoint, authorized, headers):
    bearer = {"Authorization": f"Bearer {server.access.token}"}
    for status, answered, body in (
        send("POST", "/_rehearsal/clock", '{"advance_seconds": 1}', {**bearer, **headers}),
        send("GET", "/_rehearsal/status", "", {**bearer, **headers}),
        send("POST", "/", VPCS, {**authorized, **headers}),
    ):
        assert status == 403, body
        assert not [name for name in answered if name.startswith("access-control-")]


def test_the_host_name_localhost_is_accepted(send, server):
    port = server.access.endpoint.rpartition(":")[2]
    bearer = {"Authorization": f"Bearer {server.access.token}", "Host": f"localhost:{port}"}
    assert send("GET", "/_rehearsal/status", "", bearer)[0] == 200


@pytest.mark.attack("send a browser's preflight request for a web page")
@pytest.mark.parametrize("origin", [ORIGIN, None])
def test_preflight_requests_allow_nothing(send, server, client, origin):
    client("s3").create_bucket(Bucket="open", CreateBucketConfiguration={"LocationConstraint": REGION})
    rule = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["*"]}
    client("s3").put_bucket_cors(Bucket="open", CORSConfiguration={"CORSRules": [rule]})
    preflight = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
    if origin:
        preflight["Origin"] = origin
    for path in ("/", "/open/key", "/_rehearsal/clock", "/moto-api/reset"):
        status, headers, _ = send("OPTIONS", path, "", preflight)
        assert status in (401, 403, 404)
        assert not [name for name in headers if name.startswith("access-control-")]


def test_no_response_allows_an_origin(send, authorized):
    assert not [name for name in send("POST", "/", VPCS, authorized)[1] if name.startswith("access-control-")]


@pytest.fixture
def running(tmp_path):
    """`python -m rehearsal` in a folder that all users can read: its process, ready file and state folder."""
    ready, state = tmp_path / "ready.json", tmp_path / "state"
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o005)
    options = ["--with-parent", "--host-suite", "none", "--ready-file", str(ready), "--state", str(state)]
    process = subprocess.Popen([sys.executable, "-m", "rehearsal", *options], cwd=PROJECT, stdout=subprocess.PIPE)
    try:
        eventually(ready.exists)
        yield process, ready, state
    finally:
        process.kill()
        process.communicate()


@pytest.mark.attack("read the rehearsal's key as another local user: ready file, process, state folder")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_other_users_cannot_read_the_key(running):
    process, ready, state = running
    access = Access.from_ready_file(ready)
    assert access.control("status")["hosts"] == {}
    secrets = access.access_key_id, access.secret_access_key, access.token
    proc = Path("/proc") / str(process.pid)
    for path in (ready, proc / "environ", proc / "mem", state / "aws.pickle"):
        assert as_nobody("import sys; print(repr(open(sys.argv[1], 'rb').read()))", path) == "PermissionError"
    assert as_nobody("import os, sys; print(os.listdir(sys.argv[1]))", state) == "PermissionError"
    arguments = as_nobody("import sys; print(open(sys.argv[1]).read())", proc / "cmdline")
    assert "rehearsal" in arguments
    assert not [secret for secret in secrets if secret in arguments]
    assert stat.S_IMODE(ready.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def as_nobody(code, path):
    """The output of Python code that runs as another user, or the name of its exception."""
    drop = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    # Not the virtual environment's Python: other users may have no access to it.
    command = ["/usr/bin/env", "-i", os.path.realpath(sys.executable), "-I", "-S", "-c", drop + code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    return done.stdout if done.returncode == 0 else done.stderr.splitlines()[-1].partition(":")[0]


@pytest.mark.attack("leave a ready file for somebody else's client to find")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_ready_file_of_another_user_is_not_trusted(tmp_path):
    ready = tmp_path / "ready.json"
    Access.generate("http://127.0.0.1:1").write_ready_file(ready)
    assert Access.from_ready_file(ready).endpoint == "http://127.0.0.1:1"
    os.chown(ready, NOBODY, NOBODY)
    with pytest.raises(AccessError, match="you alone"):
        Access.from_ready_file(ready)


def test_a_ready_file_is_not_written_through_a_symlink(tmp_path):
    other = tmp_path / "other"
    other.write_text("another's")
    (tmp_path / ".ready.json").symlink_to(other)
    Access.generate("http://127.0.0.1:1").write_ready_file(tmp_path / "ready.json")
    assert other.read_text() == "another's"


@pytest.mark.attack("keep a rehearsal in a folder that another user can write to")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize(("owner", "mode"), [(NOBODY, 0o700), (0, 0o777), (0, 0o770)])
def test_a_state_folder_that_others_can_write_to_is_refused(tmp_path, owner, mode):
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, owner, -1)
    state.chmod(mode)
    command = [sys.executable, "-m", "rehearsal", "--host-suite", "none", "--state", str(state)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"rehearsal: {state} ")
    assert list(state.iterdir()) == []


def test_without_a_ready_file_export_lines_are_printed(tmp_path):
    command = [sys.executable, "-m", "rehearsal", "--host-suite", "none"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline().strip() for _ in range(5)]
        finally:
            process.terminate()
    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines[1:])
    names = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TORCHNEURON_REHEARSAL_TOKEN"]
    assert list(exported) == names
    assert exported["AWS_ENDPOINT_URL"] in lines[0]


def test_the_repr_of_an_access_has_no_secret():
    access = Access.generate("http://127.0.0.1:1")
    assert access.secret_access_key not in repr(access)
    assert access.token not in repr(access)
    assert access != replace(access, token="another")
