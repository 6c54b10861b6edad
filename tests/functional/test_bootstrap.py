import json

import pytest

from torchneuron.aws.session import Aws
from torchneuron.core import config as settings
from torchneuron.deploy.state_bucket import bootstrap


@pytest.mark.parametrize("region", ["sa-east-1", "us-east-1"])
def test_a_bucket_is_made_private_versioned_encrypted_and_tls_only(aws, config, region):
    here = Aws(region)
    report = bootstrap(here.s3(), here.sts(), config, region)
    s3, name = here.s3(), report.name
    assert report.created
    assert name.startswith("torchneuron-code-server-tfstate-")
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == (None if region == "us-east-1" else region)
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    assert set(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    rules = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_the_second_run_finds_everything_right(aws, config):
    first = bootstrap(aws.s3(), aws.sts(), config, "sa-east-1")
    again = bootstrap(aws.s3(), aws.sts(), settings.load(config.path), "sa-east-1")
    assert (again.name, again.created, again.changed) == (first.name, False, ())
    assert settings.load(config.path).backend["bucket"] == first.name


def test_a_bucket_made_by_hand_is_put_right(aws, config):
    name = "made-by-hand"
    document = json.loads(config.path.read_text())
    document["backend"].update(bucket=name, region="sa-east-1")
    config.path.write_text(json.dumps(document))
    aws.s3().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "sa-east-1"})
    report = bootstrap(aws.s3(), aws.sts(), settings.load(config.path), "sa-east-1")
    assert not report.created
    assert {"versioned", "TLS only", "public access blocked"} <= set(report.changed)
