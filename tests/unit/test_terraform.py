"""Connecting to a state: never, without a word, to another one than before."""

import json
import subprocess

import pytest

from torchneuron.core.errors import InputError, TerraformError
from torchneuron.deploy.terraform import Terraform

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
    told = r"(?s)S3 bucket one \(k\), .* S3 bucket two.*-migrate-state.*rm -r"
    with pytest.raises(TerraformError, match=told) as refused:
        connect("s3", bucket="two", key="k")
    assert str(tmp_path / "stack" / ".terraform") in refused.value.do
    assert (tmp_path / "stack" / "ran").read_text().count("init") == 1


def test_another_place_in_the_same_kind_of_backend_is_refused(connect):
    connect("local", path="/here/a.tfstate")
    with pytest.raises(TerraformError, match=r"the file /here/a\.tfstate, and the settings now say the file /there"):
        connect("local", path="/there/a.tfstate")


def test_another_kind_of_backend_is_refused(connect):
    connect("s3", bucket="one", key="k")
    with pytest.raises(TerraformError, match=r"S3 bucket one \(k\), and the settings now say the file /x"):
        connect("local", path="/x")


def test_a_workspace_is_connected_to_and_another_is_refused(connect, tmp_path):
    assert connect("cloud", organization="an-org", workspaces={"name": "one"}) == 1
    assert connect("cloud", organization="an-org", workspaces={"name": "one"}) == 2
    # Terraform refuses that option there.
    assert "-reconfigure" not in (tmp_path / "stack" / "ran").read_text()
    with pytest.raises(TerraformError, match="workspace one of an-org, and the settings now say the workspace two"):
        connect("cloud", organization="an-org", workspaces={"name": "two"})


def test_a_workspace_of_that_name_at_another_host_is_another_one_and_is_moved_by_hand(connect):
    connect("cloud", organization="an-org", workspaces={"name": "one"})
    with pytest.raises(TerraformError, match=r"say the workspace one of an-org at tfe\.example") as refused:
        connect("cloud", organization="an-org", workspaces={"name": "one"}, hostname="tfe.example")
    # Terraform: "not applicable when using HCP Terraform".
    assert "-migrate-state" not in refused.value.do
    assert "state pull > moved.tfstate" in refused.value.do
    assert "state push - < moved.tfstate" in refused.value.do


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


def test_nothing_is_removed_where_there_is_no_state(answering):
    terraform, folder = answering("""echo "$1" >> ran; [ "$1" != show ] || echo '{"format_version": "1.0"}'""")
    assert terraform.plan_removal(terraform.resources()).changes == ()
    assert (folder / "ran").read_text().split() == ["show", "plan", "show"]


def test_nothing_is_planned_where_all_there_is_stays(answering):
    terraform, folder = answering('echo "$1" >> ran')
    assert terraform.plan_removal(["aws_ebs_volume.data[0]"], keep=["aws_ebs_volume.data[0]"]).changes == ()
    assert not (folder / "ran").exists()


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


UNLOCKABLE = """\
cat >&2 <<'END'
╷
│ Error: Error acquiring the state lock
│
│ Error message: operation error S3: PutObject, exceeded maximum number of
│ attempts, 5, https response error StatusCode: 503, api error SlowDown
│
│ Terraform acquires a state lock to protect the state from being written
│ by multiple users at the same time. Please resolve the issue above and try
│ again.
╵
END
exit 1
"""


def test_a_lock_that_could_not_be_had_is_not_told_as_somebody_elses(answering):
    terraform, _ = answering(UNLOCKABLE)
    with pytest.raises(TerraformError, match=r"could not be locked\. Nothing was changed") as failed:
        terraform.plan()
    assert "SlowDown" in failed.value.why
    assert "force-unlock" not in failed.value.do


# As Terraform tells it: the lock information is that of the attempt which failed. Lines are wrapped anywhere.
LOCKED_WORKSPACE = """\
cat >&2 <<'END'
╷
│ Error: Error acquiring the state lock
│
│ Error message: workspace already locked (lock ID:
│ "an-org/code-server")
│ Lock Info:
│   ID:        cd8c83b6-2c5c-50bb-a5a1-b1b9da7e9f3f
│   Operation: OperationTypePlan
│   Who:       me@here
│   Created:   2026-11-25 08:30:45.02 +0000 UTC
╵
END
exit 1
"""


def test_a_locked_workspace_is_not_told_as_locked_by_who_came_second(answering):
    terraform, folder = answering(LOCKED_WORKSPACE)
    with pytest.raises(TerraformError, match=r"state is locked\. Nothing was changed") as locked:
        terraform.plan()
    assert "The workspace an-org/code-server is locked" in locked.value.why
    assert "me@here" not in str(locked.value)
    assert f"terraform -chdir={folder} force-unlock -force an-org/code-server" in locked.value.do


@pytest.mark.parametrize(("cloud", "host"), [({"hostname": "tfe.example"}, "tfe.example"), ({}, "app.terraform.io")])
def test_without_a_token_the_command_that_gets_one_is_told(answering, monkeypatch, cloud, host):
    monkeypatch.delenv("TF_CLOUD_HOSTNAME", raising=False)
    terraform, folder = answering("echo 'Error: Required token could not be found' >&2; exit 1")
    (folder / "cdk.tf.json").write_text(json.dumps({"terraform": {"cloud": cloud}}))
    with pytest.raises(InputError, match=f"no token for {host}") as refused:
        terraform.init()
    assert refused.value.do == f"Run: terraform login {host}"


STATE_OF_A_WORKSPACE = """\
[ "$*" = 'show -json -no-color' ] || exit 1
echo '{"values": {"outputs": {"region": {"value": "sa-east-1", "sensitive": false}}}}'
"""


def test_a_workspaces_outputs_are_read_from_its_state(answering):
    terraform, folder = answering(STATE_OF_A_WORKSPACE)
    (folder / "cdk.tf.json").write_text(json.dumps({"terraform": {"cloud": {}}}))
    assert terraform.outputs() == {"region": "sa-east-1"}


def test_a_state_that_could_not_be_uploaded_is_uploaded_by_the_next_run(answering):
    terraform, folder = answering('echo "$*" >> ran')
    terraform.recover()
    assert not (folder / "ran").exists()
    (folder / "errored.tfstate").write_text("{}")
    terraform.recover()
    assert (folder / "ran").read_text() == "state push errored.tfstate\n"
    assert not (folder / "errored.tfstate").exists()


NEWER = """\
echo 'Failed to write state: cannot import state with serial 3 over newer state with serial 7' >&2; exit 1
"""


def test_a_state_that_is_older_than_the_one_that_is_kept_can_be_set_aside(answering):
    terraform, folder = answering(NEWER)
    left = folder / "errored.tfstate"
    left.write_text("{}")
    with pytest.raises(TerraformError, match="cannot be saved now") as failed:
        terraform.recover()
    assert "serial 3 over newer state" in failed.value.why
    subprocess.run(failed.value.do.splitlines()[-1], shell=True, check=True)
    assert not left.exists()
    terraform.recover()


def test_a_state_that_is_locked_is_told_as_locked(answering):
    terraform, folder = answering(LOCKED)
    (folder / "errored.tfstate").write_text("{}")
    with pytest.raises(TerraformError, match="state is locked"):
        terraform.recover()


REMOVING = """\
echo "$*" >> ran
case $1 in
  show) cat state.json ;;
esac
"""


def test_a_removal_leaves_what_is_to_be_kept(answering):
    terraform, folder = answering(REMOVING)
    data = {"address": "data.aws_ami.machine", "mode": "data", "values": {}}
    addresses = ("aws_ebs_volume.data[0]", "aws_iam_role.machine", "aws_instance.machine[0]")
    there = [data, *({"address": one, "mode": "managed", "values": {}} for one in addresses)]
    (folder / "state.json").write_text(json.dumps({"values": {"root_module": {"resources": there}}}))
    terraform.plan_removal(terraform.resources(), keep=("aws_ebs_volume.data[0]",))
    planned = next(line for line in (folder / "ran").read_text().splitlines() if line.startswith("plan"))
    assert planned.endswith("-destroy -target=aws_iam_role.machine -target=aws_instance.machine[0]")
    terraform.plan_removal(terraform.resources())
    assert "-target" not in (folder / "ran").read_text().splitlines()[-2]


def test_a_removal_of_all_there_is_leaves_no_memory(answering):
    """Terraform keeps the outputs, and with them the choices, where anything is left out."""
    terraform, folder = answering(REMOVING)
    there = [{"address": "aws_iam_role.machine", "mode": "managed", "values": {}}]
    (folder / "state.json").write_text(json.dumps({"values": {"root_module": {"resources": there}}}))
    terraform.plan_removal(terraform.resources())
    (planned,) = [line for line in (folder / "ran").read_text().splitlines() if line.startswith("plan")]
    assert planned.endswith("-destroy")
