"""Terraform's runs: when it connects, what it reads, and what its failures become."""

import json
import subprocess

import pytest

from torchneuron.core.errors import InputError, TerraformError
from torchneuron.deploy import backend, state
from torchneuron.deploy.state import State
from torchneuron.deploy.terraform import Terraform
from torchneuron.deploy.terraform_failures import LockedError

# What init does, as far as it is read: Terraform records the backend in use, and what the configuration leaves out.
RECORDING = """\
#!/bin/sh
echo "$*" >> ran
mkdir -p .terraform
cp next-record .terraform/terraform.tfstate
"""
S3_ONE = {"backend": {"s3": {"bucket": "one", "key": "k"}}}
S3_TWO = {"backend": {"s3": {"bucket": "two", "key": "k"}}}


def cloud(**settings):
    return {"cloud": settings}


@pytest.fixture
def connect(tmp_path, monkeypatch):
    """Connects one folder to the backend given; returns how often `init` has run."""
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_text(RECORDING)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    folder = tmp_path / "stack"
    folder.mkdir()

    def connect(block):
        ((kind, settings),) = block["backend"].items() if "backend" in block else block.items()
        record = {"backend": {"type": kind, "config": {**settings, "access_key": None}}}
        (folder / "next-record").write_text(json.dumps(record))
        Terraform(folder, block).connect()
        return (folder / "ran").read_text().count("init")

    return connect


def test_connected_folder_is_not_initialized_again(connect):
    assert connect(S3_ONE) == 1
    assert connect(S3_ONE) == 1


def test_folder_is_initialized_again_for_other_settings_of_the_same_place(connect):
    connect(S3_ONE)
    assert connect({"backend": {"s3": {**S3_ONE["backend"]["s3"], "use_lockfile": True}}}) == 2


def test_folder_without_terraforms_records_is_initialized_again(connect, tmp_path):
    connect(S3_ONE)
    (tmp_path / "stack" / ".terraform" / "terraform.tfstate").unlink()
    assert connect(S3_ONE) == 2


def test_provider_is_initialized_when_the_configuration_requires_another(connect, tmp_path):
    connect(S3_ONE)
    folder = tmp_path / "stack"
    terraform = Terraform(folder, S3_ONE)
    terraform.initialize()
    assert (folder / "ran").read_text().count("init") == 1
    document = json.loads(terraform.configuration.read_text())
    document["terraform"]["required_providers"]["aws"]["version"] = "99.0.0"
    terraform.configuration.write_text(json.dumps(document))
    terraform.initialize()
    assert (folder / "ran").read_text().count("init") == 2


def test_another_bucket_is_refused_with_the_commands_that_move_the_state(connect, tmp_path):
    connect(S3_ONE)
    message = r"(?s)S3 bucket one \(k\), .* S3 bucket two.*-migrate-state.*rm -r"
    with pytest.raises(TerraformError, match=message) as refused:
        connect(S3_TWO)
    folder = tmp_path / "stack"
    assert str(folder / ".terraform") in refused.value.do
    assert (folder / "ran").read_text().count("init") == 1
    # What -migrate-state reads.
    assert json.loads((folder / "cdk.tf.json").read_text())["terraform"]["backend"] == S3_TWO["backend"]


def test_another_place_in_the_same_kind_of_backend_is_refused(connect):
    connect(backend.local_file("/here/a.tfstate"))
    with pytest.raises(TerraformError, match=r"the file /here/a\.tfstate, and the settings now say the file /there"):
        connect(backend.local_file("/there/a.tfstate"))


def test_another_kind_of_backend_is_refused(connect):
    connect(S3_ONE)
    with pytest.raises(TerraformError, match=r"S3 bucket one \(k\), and the settings now say the file /x"):
        connect(backend.local_file("/x"))


def test_another_workspace_is_refused(connect, tmp_path):
    assert connect(cloud(organization="an-org", workspaces={"name": "one"})) == 1
    assert connect(cloud(organization="an-org", workspaces={"name": "one"})) == 1
    # Terraform refuses that option there.
    assert "-reconfigure" not in (tmp_path / "stack" / "ran").read_text()
    with pytest.raises(TerraformError, match="workspace one of an-org, and the settings now say the workspace two"):
        connect(cloud(organization="an-org", workspaces={"name": "two"}))


def test_workspace_at_another_host_is_refused_with_the_commands_that_move_the_state(connect):
    connect(cloud(organization="an-org", workspaces={"name": "one"}))
    with pytest.raises(TerraformError, match=r"say the workspace one of an-org at tfe\.example") as refused:
        connect(cloud(organization="an-org", workspaces={"name": "one"}, hostname="tfe.example"))
    # Terraform: "not applicable when using HCP Terraform".
    assert "-migrate-state" not in refused.value.do
    assert "state pull > moved.tfstate" in refused.value.do
    assert "state push - < moved.tfstate" in refused.value.do


@pytest.fixture
def answering(tmp_path, monkeypatch):
    """A Terraform that is a shell script, in a folder of its own."""

    def make(script, block=S3_ONE):
        program = tmp_path / "bin" / "terraform"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=":")
        folder = tmp_path / "stack"
        folder.mkdir()
        return Terraform(folder, block), folder

    return make


def test_removal_of_an_empty_state_is_planned_for_its_lock(answering):
    terraform, folder = answering('echo "$1" >> ran')
    assert terraform.plan_removal(State()).changes == ()
    assert (folder / "ran").read_text().split() == ["plan"]


def test_removal_that_keeps_everything_is_not_planned(answering):
    terraform, folder = answering('echo "$1" >> ran')
    held = State({}, {"aws_ebs_volume.data[0]": {}})
    assert terraform.plan_removal(held, keep=["aws_ebs_volume.data[0]"]).changes == ()
    assert not (folder / "ran").exists()


LOCK_INFO = """\
Error message: operation error S3: PutObject, https response error
StatusCode: 412, RequestID: x, api error PreconditionFailed
Lock Info:
  ID:        547287e7-46fa-fe4d-e1a3-f764e9251825
  Operation: OperationTypeApply
  Who:       someone@laptop
  Created:   2026-11-25 08:30:45.02 +0000 UTC
"""


def failing(detail, summary="Error acquiring the state lock"):
    """A Terraform that reports an error as `-json` does, and as it does without."""
    diagnostic = {"severity": "error", "summary": summary, "detail": detail}
    event = {"@level": "error", "@message": f"Error: {summary}", "type": "diagnostic", "diagnostic": diagnostic}
    plain = "".join(f"│ {line}\n" for line in ["╷", f"Error: {summary}", "", *detail.splitlines(), "╵"])
    return f"""\
case "$*" in
*-json*) cat <<'END'
{json.dumps(event)}
END
;;
*) cat >&2 <<'END'
{plain}END
;;
esac
exit 1
"""


LOCKED = failing(LOCK_INFO)


@pytest.mark.parametrize("run", ["plan", "apply", "forget"])
def test_lock_is_reported_with_the_command_that_removes_it(answering, run):
    terraform, folder = answering(LOCKED)
    with pytest.raises(LockedError, match=r"state is locked\. Nothing was changed") as locked:
        {
            "plan": lambda: terraform.plan(State()),
            "apply": terraform.apply,
            "forget": lambda: terraform.forget(["aws_ebs_volume.data[0]"]),
        }[run]()
    assert "By someone@laptop, since 2026-11-25 08:30:45.02 +0000 UTC" in locked.value.why
    assert f"terraform -chdir={folder} force-unlock -force 547287e7-46fa-fe4d-e1a3-f764e9251825" in locked.value.do


UNLOCKABLE = failing("""\
Error message: operation error S3: PutObject, exceeded maximum number of
attempts, 5, https response error StatusCode: 503, api error SlowDown

Terraform acquires a state lock to protect the state from being written
by multiple users at the same time. Please resolve the issue above and try
again.
""")


def test_failed_request_for_the_lock_is_not_reported_as_a_lock(answering):
    terraform, _ = answering(UNLOCKABLE)
    with pytest.raises(TerraformError, match=r"could not be locked\. Nothing was changed") as failed:
        terraform.plan(State())
    assert "SlowDown" in failed.value.why
    assert "force-unlock" not in failed.value.do


# The lock information is that of the attempt which failed. Without -json, lines are wrapped anywhere.
LOCKED_WORKSPACE = failing("""\
Error message: workspace already locked (lock ID:
"an-org/code-server")
Lock Info:
  ID:        cd8c83b6-2c5c-50bb-a5a1-b1b9da7e9f3f
  Operation: OperationTypePlan
  Who:       me@here
  Created:   2026-11-25 08:30:45.02 +0000 UTC
""")


def test_lock_of_a_workspace_is_not_attributed_to_the_failed_attempt(answering):
    terraform, folder = answering(LOCKED_WORKSPACE)
    with pytest.raises(TerraformError, match=r"state is locked\. Nothing was changed") as locked:
        terraform.plan(State())
    assert "The workspace an-org/code-server is locked" in locked.value.why
    assert "me@here" not in str(locked.value)
    assert f"terraform -chdir={folder} force-unlock -force an-org/code-server" in locked.value.do


@pytest.mark.parametrize(("settings", "host"), [({"hostname": "tfe.example"}, "tfe.example"), ({}, "app.terraform.io")])
def test_missing_token_is_reported_with_the_command_that_gets_one(answering, monkeypatch, settings, host):
    monkeypatch.delenv("TF_CLOUD_HOSTNAME", raising=False)
    terraform, _ = answering("echo 'Error: Required token could not be found' >&2; exit 1", cloud(**settings))
    with pytest.raises(InputError, match=f"no token for {host}") as refused:
        terraform.connect()
    assert refused.value.do == f"Run: terraform login {host}"


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


REMOVING = 'echo "$*" >> ran'


def test_removal_targets_all_but_what_is_kept(answering):
    terraform, folder = answering(REMOVING)
    addresses = ("aws_ebs_volume.data[0]", "aws_iam_role.machine", "aws_instance.machine[0]")
    held = State({}, {address: {} for address in addresses})
    terraform.plan_removal(held, keep=("aws_ebs_volume.data[0]",))
    (planned,) = (folder / "ran").read_text().splitlines()
    assert planned.endswith("-destroy -target=aws_iam_role.machine -target=aws_instance.machine[0]")


def test_removal_of_everything_has_no_targets(answering):
    """With targets Terraform would keep the outputs, and so what the deployment remembers."""
    terraform, folder = answering(REMOVING)
    terraform.plan_removal(State({}, {"aws_iam_role.machine": {}}))
    (planned,) = (folder / "ran").read_text().splitlines()
    assert planned.endswith("-destroy")


LOSING = """\
echo "$1" >> ran
case $1 in
plan) echo '{"type": "planned_change", "change": {"action": "replace",
  "resource": {"addr": "aws_instance.machine[0]", "resource_type": "aws_instance"}}}' | tr -d '\\n' ;;
show) echo '{"resource_changes": [{"address": "aws_instance.machine[0]", "type": "aws_instance", "change":
  {"actions": ["delete", "create"], "replace_paths": [["ami"]], "before": {"id": "i-1"}, "after": {}}}]}' ;;
esac
"""


def test_plan_that_loses_something_is_read_in_full(answering):
    terraform, folder = answering(LOSING)
    (change,) = terraform.plan(State()).changes
    assert (change.is_loss, change.because, change.identity) == (True, ("ami",), "i-1")
    assert (folder / "ran").read_text().split() == ["plan", "show"]


APPLYING = """\
echo '{"type": "outputs", "outputs": {"region": {"sensitive": false, "type": "string", "value": "sa-east-1"}}}'
"""


def test_apply_returns_the_outputs(answering):
    terraform, _ = answering(APPLYING)
    assert terraform.apply() == {"region": "sa-east-1"}


def test_state_is_read_apart_from_the_provider(answering):
    terraform, folder = answering('echo "$* with $TF_DATA_DIR" >> ran')
    terraform.data_folder.mkdir()
    assert terraform.state() == State()
    state_only = folder / ".terraform" / "state-only"
    assert (state_only / "ran").read_text() == f"state pull with {folder / '.terraform'}\n"
    document = json.loads((state_only / "main.tf.json").read_text())["terraform"]
    assert document["backend"] == S3_ONE["backend"]
    assert "required_providers" not in document


def resource(kind, name, *instances, mode="managed", **more):
    return {"mode": mode, "type": kind, "name": name, "instances": list(instances), **more}


def test_state_file_is_read_by_address():
    document = {
        "version": 4,
        "outputs": {"region": {"value": "sa-east-1", "type": "string"}},
        "resources": [
            resource("aws_ami", "machine", {"attributes": {"id": "ami-1"}}, mode="data"),
            resource("aws_iam_role", "machine", {"attributes": {"id": "a-role"}}),
            resource(
                "aws_instance",
                "machine",
                {"index_key": 0, "deposed": "1a2b", "attributes": {"id": "i-old"}},
                {"index_key": 0, "attributes": {"id": "i-1"}},
                {"index_key": 1, "attributes": {"id": "i-2"}, "status": "tainted"},
            ),
            resource("x", "y", {"index_key": "a b", "attributes": {"id": "1"}}, module="module.m"),
        ],
    }
    read = state.parse(json.dumps(document))
    assert read.outputs == {"region": "sa-east-1"}
    assert read.ids == {
        "aws_iam_role.machine": "a-role",
        "aws_instance.machine[0]": "i-1",
        "aws_instance.machine[1]": "i-2",
        'module.m.x.y["a b"]': "1",
    }
    assert read.tainted == {"aws_instance.machine[1]"}
    assert list(read.of_type("aws_instance")) == ["aws_instance.machine[0]", "aws_instance.machine[1]"]
    assert list(read.without(["aws_iam_role.machine"]).of_type("aws_iam_role")) == []


def test_empty_state_and_unknown_format():
    assert state.parse("") == State()
    with pytest.raises(TerraformError, match="has format 5"):
        state.parse('{"version": 5}')
