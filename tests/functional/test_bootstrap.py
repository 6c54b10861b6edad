import json

import pytest

from torchneuron.aws.session import Aws
from torchneuron.core import config as settings
from torchneuron.deploy.state_bucket import bootstrap


@pytest.mark.parametrize("region", ["sa-east-1", "us-east-1"])
def test_a_bucket_is_created_private_versioned_encrypted_and_tls_only(rehearsal_endpoint, config, region):
    aws = Aws(region)
    report = bootstrap(aws.s3(), aws.sts(), config, region)
    s3, name = aws.s3(), report.name
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


def test_the_second_run_changes_nothing(aws, config):
    first = bootstrap(aws.s3(), aws.sts(), config, "sa-east-1")
    second = bootstrap(aws.s3(), aws.sts(), settings.load(config.path), "sa-east-1")
    assert (second.name, second.created, second.changed) == (first.name, False, ())
    assert settings.load(config.path).backend["bucket"] == first.name


def test_a_bucket_created_by_hand_is_corrected(aws, config):
    name = "created-by-hand"
    document = json.loads(config.path.read_text())
    document["backend"].update(bucket=name, region="sa-east-1")
    config.path.write_text(json.dumps(document))
    aws.s3().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "sa-east-1"})
    report = bootstrap(aws.s3(), aws.sts(), settings.load(config.path), "sa-east-1")
    assert not report.created
    assert {"versioned", "TLS only", "public access blocked"} <= set(report.changed)
