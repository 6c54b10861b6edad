"""One command at a time in one region's folder, with a synthesis and a Terraform of a few lines."""

import dataclasses
import json

import pytest

from tests.fakes import StandIn
from tests.unit.capacity_fakes import dated, refusal, reservation
from torchneuron.capacity_blocks import launch_check
from torchneuron.core import config, display, locks
from torchneuron.core.errors import (
    AccessError,
    Declined,
    Detached,
    InputError,
    NotFoundError,
    SetupError,
    TorchNeuronError,
)
from torchneuron.deploy import deploy, destroy, workspace
from torchneuron.deploy.options import DeployOptions
from torchneuron.deploy.terraform_failures import LockedError

MAIN = """\
import json, os, pathlib
folder = pathlib.Path(os.environ["CDKTF_OUTDIR"], "stacks", "torchneuron-code-server")
made = json.loads((folder / "cdk.tf.json").read_text())
made["context"] = json.loads(os.environ["CDKTF_CONTEXT_JSON"])
(folder / "cdk.tf.json").write_text(json.dumps(made))
"""
# `init` records the backend, `plan` what `apply` is to do, and a state is there after that.
TERRAFORM = """\
#!/bin/sh
data=$TF_DATA_DIR
mkdir -p "$data"
echo "$1" >> "$data/../ran"
state='{"version": 4, "outputs": {"instance_ids": {"value": ["i-1"]}}, "resources": [{"mode": "managed",
  "type": "aws_instance", "name": "m", "instances": [{"attributes": {"id": "i-1"}}]}]}'
case $1 in
  init)
    path=$(sed -n 's/.*"path": "\\([^"]*\\)".*/\\1/p' cdk.tf.json)
    echo '{"backend": {"type": "local", "config": {"path": "'"$path"'"}}}' > "$data/terraform.tfstate" ;;
  state) [ ! -e "$data/../action" ] || echo "$state" ;;
  plan) case "$*" in *-destroy*) action=delete ;; *) action=create ;; esac
    echo "$action" > "$data/../action"
    echo '{"type": "planned_change", "change": {"action": "'"$action"'",' \\
      '"resource": {"addr": "aws_instance.m", "resource_type": "aws_instance"}}}' ;;
  apply) echo '{"type": "outputs", "outputs": {"instance_ids": {"value": ["i-1"]}}}' ;;
esac
"""


ON_DEMAND = DeployOptions(on_demand=True)
SEEN = {
    "describe_instances": [{"Reservations": []}],
    "describe_instance_type_offerings": [{"InstanceTypeOfferings": [{"Location": "sa-east-1b"}]}],
}


class Ec2(StandIn):
    """A region without machines, where every type is offered; the rest may not be looked at, quotas neither."""

    def get_paginator(self, operation):
        if operation not in SEEN:
            raise refusal("UnauthorizedOperation")
        self.pages = SEEN[operation]
        return self

    def paginate(self, **_):
        return self.pages

    def describe_instance_types(self, **_):
        raise refusal("UnauthorizedOperation")


class Sts:
    def get_caller_identity(self):
        return {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/dev"}


class Denied:
    """A service of which nothing may be looked at."""

    def get_paginator(self, operation):
        raise refusal("AccessDeniedException")

    def list_account_aliases(self):
        raise refusal("AccessDenied")

    def get_products(self, **_):
        raise refusal("AccessDeniedException")


class FakeAws(StandIn):
    """A region that may be looked at until `expired` says otherwise."""

    def __init__(self, region="sa-east-1", expired=lambda: False):
        self.region, self.expired = region, expired

    def brief(self):
        return self

    def credentials(self):
        return "env", "default"

    def sts(self):
        return Sts()

    def iam(self):
        return Denied()

    def secrets(self):
        return Denied()

    def ssm(self):
        return Denied()

    def pricing(self):
        return Denied()

    def ec2(self):
        if self.expired():
            raise AccessError("The credentials have expired.")
        return Ec2()


@pytest.fixture
def settings(tmp_path, monkeypatch):
    document = json.loads((config.PROJECT_ROOT / "config.json").read_text())
    document["backend"] = {"type": "local"}
    (tmp_path / "config.json").write_text(json.dumps(document))
    (tmp_path / "main.py").write_text(MAIN)
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_text(TERRAFORM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setattr(workspace, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(workspace, "_BUSY_SECONDS", 0)
    monkeypatch.setattr(launch_check, "refuse", lambda *_: None)
    return config.load(tmp_path / "config.json")


def stack(settings, region):
    return settings.output_dir / "invoke" / region / "stacks" / "torchneuron-code-server"


def test_a_lock_is_given_up_at_the_end_and_refused_meanwhile(tmp_path):
    path = tmp_path / "made" / "x.lock"
    with locks.held(path, "the deployment in X", seconds=0):
        refused = pytest.raises(TorchNeuronError, match="Another command is at work on the deployment in X")
        with refused as caught, locks.held(path, "the deployment in X", seconds=0):
            pass
        assert caught.value.exit_status == 1
    with locks.held(path, "the deployment in X", seconds=0):
        pass


def test_nobody_gets_at_the_plan_while_destroy_asks(settings, monkeypatch):
    statuses = []

    def asked(question, **rest):
        with pytest.raises(TorchNeuronError, match="Another command is at work") as refused:
            destroy.destroy(settings, FakeAws(), yes=True)
        statuses.append(refused.value.exit_status)
        for region in ("sa-east-1", "us-east-2"):
            with pytest.raises(NotFoundError):
                look(settings, region)  # reading needs no lock
        return True

    monkeypatch.setattr(display, "confirm", asked)
    destroy.destroy(settings, FakeAws(), yes=False)
    assert statuses == [1]
    ran = (stack(settings, "sa-east-1") / "ran").read_text().split()
    assert ran == ["init", "state", "plan", "state", "apply"]
    assert (stack(settings, "us-east-2") / "ran").read_text().split() == ["init", "state"]


def test_after_a_no_nothing_is_removed(settings, monkeypatch):
    monkeypatch.setattr(display, "confirm", lambda *_, **__: False)
    with pytest.raises(Declined, match="Nothing was removed") as declined:
        destroy.destroy(settings, FakeAws(), yes=False)
    assert declined.value.exit_status == 0
    assert "apply" not in (stack(settings, "sa-east-1") / "ran").read_text().split()


def test_what_may_not_be_looked_at_does_not_fail_a_removal(settings, capsys):
    destroy.destroy(settings, FakeAws(), yes=True)
    printed = capsys.readouterr().err
    assert "Removed." in printed
    assert "the search for orphaned resources is incomplete" in printed


def look(settings, region):
    deploy.info(settings, FakeAws(region))


def test_each_region_has_a_folder_of_its_own_beside_what_cdktf_writes(settings):
    for region in ("sa-east-1", "us-east-2"):
        deploy.try_out(settings, FakeAws(region), ON_DEMAND)
    for region in ("sa-east-1", "us-east-2"):
        folder = stack(settings, f"{region}-dry-run")
        assert json.loads((folder / "cdk.tf.json").read_text())["context"]["region"] == region
    assert [path.name for path in settings.output_dir.iterdir()] == ["invoke"]


def test_reading_never_synthesizes_and_connects_once(settings, tmp_path):
    (tmp_path / "main.py").write_text("raise SystemExit(1)")
    for _ in range(2):
        with pytest.raises(NotFoundError):
            look(settings, "sa-east-1")
    assert (stack(settings, "sa-east-1") / "ran").read_text().split() == ["init", "state", "state"]


def test_first_deploy_runs_terraform_four_times(settings):
    with pytest.raises(SetupError):  # the fake region has no such machine
        deploy.deploy(settings, FakeAws(), dataclasses.replace(ON_DEMAND, yes=True))
    assert (stack(settings, "sa-east-1") / "ran").read_text().split() == ["init", "state", "plan", "apply"]


def test_locked_state_is_reported_by_info(settings, monkeypatch):
    def locked(*_):
        raise LockedError("Terraform's state is locked.")

    monkeypatch.setattr(deploy, "read_state", locked)
    with pytest.raises(LockedError):
        look(settings, "sa-east-1")


def test_what_fails_after_the_launch_names_the_machine_and_the_command_that_goes_on(settings):
    ran = stack(settings, "sa-east-1") / "ran"
    expiring = FakeAws(expired=lambda: ran.exists() and "apply" in ran.read_text().split())
    with pytest.raises(SetupError, match="credentials have expired") as failed:
        deploy.deploy(settings, expiring, dataclasses.replace(ON_DEMAND, yes=True))
    assert failed.value.exit_status == 1
    assert "invoke setup -i i-1 -r sa-east-1" in failed.value.do


@pytest.mark.attack("start a machine on demand without an answer")
def test_on_demand_machine_is_not_launched_without_an_answer(settings, capsys):
    with pytest.raises(InputError, match="Nothing was started"):
        deploy.deploy(settings, FakeAws(), ON_DEMAND)
    assert "on demand in sa-east-1: price unknown." in capsys.readouterr().err
    assert "apply" not in (stack(settings, "sa-east-1") / "ran").read_text().split()


@pytest.mark.attack("start a machine on demand beside a paid and free block, from a script")
def test_launch_beside_a_free_block_is_refused_before_anything_is_planned(settings, monkeypatch):
    block = reservation("cr-1", "active", AvailableInstanceCount=1)
    monkeypatch.setitem(SEEN, "describe_capacity_reservations", [dated({"CapacityReservations": [block]})])
    with pytest.raises(InputError, match="You have a Capacity Block for trn2") as refused:
        deploy.deploy(settings, FakeAws(), DeployOptions(yes=True))
    assert "--use-capacity-block" in refused.value.do
    assert "--on-demand" in refused.value.do
    assert (stack(settings, "sa-east-1") / "ran").read_text().split() == ["init", "state"]


def test_a_failure_keeps_its_own_words_once_a_machine_runs():
    with pytest.raises(SetupError) as failed, deploy.launched(["i-1"], "invoke setup -i i-1 -r sa-east-1"):
        raise InputError("The secret is empty.", why="Because.", do="Fill it.")
    assert (failed.value.what, failed.value.why) == ("The secret is empty.", "Because.")
    assert failed.value.do.startswith("Fill it.\n")


@pytest.mark.parametrize("kind", [Detached, SetupError])
def test_what_says_how_to_go_on_already_is_left_alone(kind):
    error = kind("Stopped.", do="Again: invoke setup -i i-1 -r sa-east-1")
    with pytest.raises(kind) as failed, deploy.launched(["i-1"], "invoke setup -i i-1 -r sa-east-1"):
        raise error
    assert failed.value is error
