"""Connecting to a state: never, without a word, to another one than before."""

import json

import pytest

from torchneuron.errors import TerraformError
from torchneuron.terraform import Terraform

# What Terraform does at init, as far as the guard reads it: the backend in use is written down.
RECORDING = """\
#!/bin/sh
echo "$*" >> ran
mkdir -p .terraform
cp next-record .terraform/terraform.tfstate
"""


@pytest.fixture
def connect(tmp_path, monkeypatch):
    """Run `init` with the backend given, in one folder."""
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_text(RECORDING)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    folder = tmp_path / "stack"
    folder.mkdir()

    def connect(kind, **settings):
        (folder / "cdk.tf.json").write_text(json.dumps({"terraform": {"backend": {kind: settings}}}))
        # Terraform also writes down what the configuration leaves out.
        record = {"backend": {"type": kind, "config": {**settings, "access_key": None}}}
        (folder / "next-record").write_text(json.dumps(record))
        Terraform(folder).init()
        return (folder / "ran").read_text().count("init")

    return connect


def test_the_same_bucket_is_connected_to_again(connect):
    connect("s3", bucket="one", key="k")
    assert connect("s3", bucket="one", key="k") == 2


def test_another_bucket_is_refused_with_the_way_out(connect, tmp_path):
    connect("s3", bucket="one", key="k")
    with pytest.raises(TerraformError, match=r"(?s)S3 bucket one, .* S3 bucket two.*-migrate-state.*rm -r") as refused:
        connect("s3", bucket="two", key="k")
    assert str(tmp_path / "stack" / ".terraform") in refused.value.do
    assert (tmp_path / "stack" / "ran").read_text().count("init") == 1


def test_another_kind_of_backend_is_refused(connect):
    connect("s3", bucket="one", key="k")
    with pytest.raises(TerraformError, match="S3 bucket one, and the settings now say a local backend"):
        connect("local", path="/x")
