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
        where = {"cloud": settings} if kind == "cloud" else {"backend": {kind: settings}}
        (folder / "cdk.tf.json").write_text(json.dumps({"terraform": where}))
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


def test_a_workspace_is_connected_to_and_another_is_refused(connect, tmp_path):
    assert connect("cloud", organization="an-org", workspaces={"name": "one"}) == 1
    assert connect("cloud", organization="an-org", workspaces={"name": "one"}) == 2
    # Terraform refuses that option there.
    assert "-reconfigure" not in (tmp_path / "stack" / "ran").read_text()
    with pytest.raises(TerraformError, match="workspace one of an-org, and the settings now say the workspace two"):
        connect("cloud", organization="an-org", workspaces={"name": "two"})


@pytest.fixture
def answering(tmp_path, monkeypatch):
    """A Terraform that is a shell script, in a folder of its own."""

    def make(script):
        program = tmp_path / "bin" / "terraform"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=":")
        folder = tmp_path / "stack"
        folder.mkdir()
        return Terraform(folder), folder

    return make


LOCKED = """\
cat >&2 <<'END'
╷
│ Error: Error acquiring the state lock
│
│ Error message: operation error S3: PutObject, https response error
│ StatusCode: 412, RequestID: x, api error PreconditionFailed
│ Lock Info:
│   ID:        547287e7-46fa-fe4d-e1a3-f764e9251825
│   Operation: OperationTypeApply
│   Who:       someone@laptop
│   Created:   2026-11-25 08:30:45.02 +0000 UTC
╵
END
exit 1
"""


def test_a_lock_that_was_left_is_told_with_the_command_that_removes_it(answering):
    terraform, folder = answering(LOCKED)
    with pytest.raises(TerraformError, match=r"state is locked\. Nothing was changed") as locked:
        terraform.plan()
    assert "By someone@laptop, since 2026-11-25 08:30:45.02 +0000 UTC" in locked.value.why
    assert f"terraform -chdir={folder} force-unlock -force 547287e7-46fa-fe4d-e1a3-f764e9251825" in locked.value.do


def test_a_state_that_could_not_be_uploaded_is_uploaded_by_the_next_run(answering):
    terraform, folder = answering('echo "$*" >> ran')
    terraform.recover()
    assert not (folder / "ran").exists()
    (folder / "errored.tfstate").write_text("{}")
    terraform.recover()
    assert (folder / "ran").read_text() == "state push errored.tfstate\n"
    assert not (folder / "errored.tfstate").exists()


REMOVING = """\
echo "$*" >> ran
case $1 in
  state) printf '%s\\n' data.aws_ami.machine 'aws_ebs_volume.data[0]' aws_iam_role.machine 'aws_instance.machine[0]' ;;
  show) echo '{}' ;;
esac
"""


def test_a_removal_leaves_what_is_to_be_kept(answering):
    terraform, folder = answering(REMOVING)
    terraform.plan_removal(keep=("aws_ebs_volume",))
    planned = next(line for line in (folder / "ran").read_text().splitlines() if line.startswith("plan"))
    assert planned.endswith("-destroy -target=aws_iam_role.machine -target=aws_instance.machine[0]")
    terraform.plan_removal()
    assert "-target" not in (folder / "ran").read_text().splitlines()[-2]
