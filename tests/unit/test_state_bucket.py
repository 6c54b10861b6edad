import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import StandIn
from tests.unit.capacity_fakes import refusal
from torchneuron.core import config as settings
from torchneuron.core.errors import AccessError, AwsError, InputError
from torchneuron.deploy.state_bucket import BucketReport, bootstrap, bucket_name, show

ACCOUNT = "123456789012"
REGION = "sa-east-1"
NAME = f"torchneuron-code-server-tfstate-{ACCOUNT}-{REGION}"
ALL_SETTINGS = (
    "public access blocked",
    "access by policy only, no ACLs",
    "TLS only",
    "encrypted",
    "versioned",
    "tagged",
)


class FakeSts(StandIn):
    def get_caller_identity(self):
        return {"Account": ACCOUNT}


class FakeS3(StandIn):
    """Buckets by name, each with its owner and the responses of S3; `writes` are the operations that changed them."""

    class meta:  # noqa: N801 - boto3's own
        partition = "aws"

    _READS = {  # noqa: RUF012 - never changed
        "get_public_access_block": "NoSuchPublicAccessBlockConfiguration",
        "get_bucket_ownership_controls": "OwnershipControlsNotFoundError",
        "get_bucket_policy": "NoSuchBucketPolicy",
        "get_bucket_encryption": "ServerSideEncryptionConfigurationNotFoundError",
        "get_bucket_versioning": "",
        "get_bucket_tagging": "NoSuchTagSet",
    }

    def __init__(self):
        self.buckets, self.writes = {}, []

    def add(self, name, owner=ACCOUNT):
        return self.buckets.setdefault(name, {"owner": owner, "location": None})

    def head_bucket(self, **which):
        if which["Bucket"] not in self.buckets:
            raise refusal("404", "Not Found", status=404)
        place = self._ours(which)["location"]
        return {"BucketRegion": place} if place else {}

    def create_bucket(self, **request):
        if request["Bucket"] in self.buckets:
            raise refusal("BucketAlreadyExists", status=409)
        self.writes.append("create_bucket")
        bucket = self.add(request["Bucket"])
        bucket["location"] = request.get("CreateBucketConfiguration", {}).get("LocationConstraint")
        rules = [{"ObjectOwnership": request["ObjectOwnership"]}]
        bucket["get_bucket_ownership_controls"] = {"OwnershipControls": {"Rules": rules}}

    def __getattr__(self, operation):
        if operation in self._READS:
            return lambda **which: self._read(operation, which)
        if operation.startswith("put_"):
            return lambda **request: self._write(operation, request)
        raise AttributeError(operation)

    def _read(self, operation, which):
        bucket = self._ours(which)
        missing = self._READS[operation]
        if operation not in bucket and missing:
            raise refusal(missing, status=404)
        return {**bucket.get(operation, {}), "ResponseMetadata": {}}

    def _write(self, operation, request):
        self.writes.append(operation)
        value = {key: value for key, value in request.items() if key not in ("Bucket", "ExpectedBucketOwner")}
        if operation in ("put_bucket_versioning", "put_bucket_tagging"):
            (value,) = value.values()
        self._ours(request)[operation.replace("put_", "get_")] = value

    def _ours(self, which):
        bucket = self.buckets[which["Bucket"]]
        if bucket["owner"] != which["ExpectedBucketOwner"]:
            raise refusal("403", "Forbidden", status=403)
        return bucket


@pytest.fixture
def project(tmp_path):
    """Returns a copy of the project's settings, with `backend` replaced."""

    def make(**backend):
        document = json.loads((settings.PROJECT_ROOT / "config.json").read_text())
        document["backend"] = backend or {"type": "s3", "bucket": None, "region": None, "usePathStyle": True}
        (tmp_path / "config.json").write_text(json.dumps(document))
        return settings.load(tmp_path / "config.json")

    return make


def test_a_new_bucket_gets_all_settings_and_is_saved(project):
    s3, config = FakeS3(), project()
    report = bootstrap(s3, FakeSts(), config, REGION)
    set_at_creation = "access by policy only, no ACLs"
    assert report == BucketReport(
        NAME,
        REGION,
        created=True,
        changed=tuple(name for name in ALL_SETTINGS if name != set_at_creation),
        settings_saved=True,
    )
    backend = settings.load(config.path).backend
    assert backend == {"type": "s3", "bucket": NAME, "region": REGION, "usePathStyle": True}


def test_the_bucket_is_private_encrypted_versioned_and_tls_only(project):
    s3 = FakeS3()
    bootstrap(s3, FakeSts(), project(), REGION)
    bucket = s3.buckets[NAME]
    assert bucket["location"] == REGION
    assert set(bucket["get_public_access_block"]["PublicAccessBlockConfiguration"].values()) == {True}
    rules = bucket["get_bucket_encryption"]["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules == [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    assert bucket["get_bucket_versioning"] == {"Status": "Enabled"}
    (statement,) = json.loads(bucket["get_bucket_policy"]["Policy"])["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [f"arn:aws:s3:::{NAME}", f"arn:aws:s3:::{NAME}/*"]


def test_the_second_run_changes_nothing(project):
    s3, config = FakeS3(), project()
    bootstrap(s3, FakeSts(), config, REGION)
    s3.writes.clear()
    report = bootstrap(s3, FakeSts(), settings.load(config.path), REGION)
    assert report == BucketReport(NAME, REGION, created=False, changed=(), settings_saved=False)
    assert s3.writes == []


def test_an_incomplete_bucket_is_completed(project):
    s3 = FakeS3()
    s3.add(NAME)
    report = bootstrap(s3, FakeSts(), project(), REGION)
    assert not report.created
    assert report.changed == ALL_SETTINGS


def test_us_east_1_is_requested_without_a_location(project, tmp_path):
    s3, config = FakeS3(), project()
    report = bootstrap(s3, FakeSts(), config, "us-east-1")
    assert s3.buckets[report.name]["location"] is None


def test_settings_of_others_are_kept(project):
    s3 = FakeS3()
    theirs = {
        "Sid": "Theirs",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:DeleteObject",
        "Resource": "*",
    }
    kms = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.add(NAME).update(
        get_bucket_policy={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [theirs]})},
        get_bucket_encryption={"ServerSideEncryptionConfiguration": {"Rules": [kms]}},
        get_bucket_tagging={"TagSet": [{"Key": "Team", "Value": "ml"}]},
    )
    bootstrap(s3, FakeSts(), project(), REGION)
    bucket = s3.buckets[NAME]
    statements = json.loads(bucket["get_bucket_policy"]["Policy"])["Statement"]
    assert [statement["Sid"] for statement in statements] == ["Theirs", "DenyWithoutTLS"]
    assert bucket["get_bucket_encryption"]["ServerSideEncryptionConfiguration"]["Rules"] == [kms]
    assert {"Key": "Team", "Value": "ml"} in bucket["get_bucket_tagging"]["TagSet"]


def test_a_bucket_of_another_account_is_refused_and_nothing_is_written(project):
    s3, config = FakeS3(), project()
    s3.add(NAME, owner="999999999999")
    with pytest.raises(InputError, match="Account 123456789012 may not use"):
        bootstrap(s3, FakeSts(), config, REGION)
    assert s3.writes == []
    assert settings.load(config.path).backend["bucket"] is None


def test_a_name_taken_between_lookup_and_creation_is_refused(project):
    s3 = FakeS3()
    s3.head_bucket = lambda **_: (_ for _ in ()).throw(refusal("404", status=404))
    s3.add(NAME, owner="999999999999")
    with pytest.raises(InputError, match="may not use"):
        bootstrap(s3, FakeSts(), project(), REGION)


def test_the_bucket_in_the_settings_is_used_for_every_region(project):
    s3 = FakeS3()
    config = project(type="s3", bucket="our-own-state", region="us-east-2")
    report = bootstrap(s3, FakeSts(), config, REGION)
    assert (report.name, report.region) == ("our-own-state", "us-east-2")
    assert s3.buckets["our-own-state"]["location"] == "us-east-2"
    assert not report.settings_saved


@pytest.mark.parametrize("saved", [{}, {"region": "us-east-2"}])
def test_the_actual_region_of_the_bucket_is_saved(project, saved):
    """Terraform's S3 backend fails with another region."""
    s3 = FakeS3()
    s3.add("our-own-state")["location"] = "eu-west-1"
    report = bootstrap(s3, FakeSts(), project(type="s3", bucket="our-own-state", **saved), REGION)
    assert (report.region, report.settings_saved) == ("eu-west-1", True)


def test_local_state_stays_local(project):
    s3 = FakeS3()
    with pytest.raises(InputError, match="'local'"):
        bootstrap(s3, FakeSts(), project(type="local", path="state"), REGION)
    assert s3.buckets == {}


def test_a_denied_setting_is_an_error(project):
    s3 = FakeS3()

    def refuse(**_):
        raise refusal("AccessDenied", "User is not authorized to perform: s3:PutBucketVersioning", status=403)

    s3.put_bucket_versioning = refuse
    with pytest.raises(AccessError, match="s3:PutBucketVersioning") as raised:
        bootstrap(s3, FakeSts(), project(), REGION)
    assert isinstance(raised.value, AwsError)


@given(
    project=st.from_regex(r"[a-z][a-z0-9-]{1,38}[a-z0-9]", fullmatch=True),
    region=st.sampled_from(["sa-east-1", "ap-southeast-4", "us-gov-west-1"]),
)
def test_bucket_names_are_valid_for_every_project(project, region):
    name = bucket_name(project, ACCOUNT, region)
    assert len(name) <= 63
    assert name.endswith(f"-tfstate-{ACCOUNT}-{region}")
    assert name.startswith(project) or len(project) > 26
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_two_long_projects_do_not_share_a_bucket():
    first, second = ("a-project-with-a-long-name-for-" + end for end in ("training", "serving"))
    assert bucket_name(first, ACCOUNT, REGION) != bucket_name(second, ACCOUNT, REGION)


def test_the_report(capsys):
    show(BucketReport("b", REGION, created=False, changed=("versioned",), settings_saved=False))
    assert capsys.readouterr().out == "State bucket b in sa-east-1: already exists.\nSet: versioned.\n"
