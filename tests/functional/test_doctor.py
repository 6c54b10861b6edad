"""`invoke doctor` against the rehearsal, and the policies that it prints."""

import json
import subprocess
import sys
import time

import pytest

from tests.functional.invoking import ROOT, on_a_terminal
from tests.functional.principals import documents_in

REGION = "sa-east-1"


@pytest.fixture
def doctor(invoke):
    """Runs `invoke doctor` and returns its checks by name."""

    def run(*options, status=0):
        done = invoke("doctor", "-o", "json", *options, status=status)
        output = json.loads(done.out)
        assert output["ready"] is (status == 0)
        return {check["name"]: check for check in output["checks"]}

    return run


@pytest.fixture
def without_credentials(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


def test_everything_is_present(invoke, doctor, rehearsal_endpoint, control):
    invoke("bootstrap", "-r", REGION)
    control("calls")
    found = doctor()
    assert {check["verdict"] for check in found.values()} <= {"ok", "warning"}
    assert found["state bucket"]["found"].startswith("torchneuron-code-server-tfstate-")
    assert found["AWS credentials"]["found"].startswith("account 123456789012, arn:aws:")
    assert rehearsal_endpoint in found["AWS credentials"]["found"]
    assert found["region in the account"]["found"] == f"{REGION} is enabled"
    assert control("calls")["sts"] == {"GetCallerIdentity": 2}  # bootstrap asks, too
    assert control("calls")["ec2"]["DescribeRegions"] == 1
    assert found["launch permission"]["found"] == "the launch is allowed (dry run)"
    assert {found[name]["verdict"] for name in ("AMI", "instance type", "subnet", "quota")} == {"ok"}


def test_missing_bucket_ends_with_status_1_and_a_remedy(invoke):
    done = invoke("doctor", status=1)
    assert f"invoke bootstrap -r {REGION}" in done.out
    assert done.err == "Error: Missing: state bucket.\n"


def test_the_other_checks_run_without_credentials(doctor, without_credentials):
    found = doctor(status=1)
    assert found["AWS credentials"]["verdict"] == "missing"
    assert "no usable AWS credentials" in found["AWS credentials"]["found"]
    assert "AWS_PROFILE" in found["AWS credentials"]["remedy"]
    assert found["region in the account"]["verdict"] == "warning"
    assert found["Terraform"]["verdict"] == found["region in the settings"]["verdict"] == "ok"


def test_unknown_region(doctor):
    found = doctor("-r", "sa-east-11", status=1)
    assert found["AWS credentials"]["verdict"] == "ok"
    assert found["region in the settings"]["verdict"] == "missing"
    assert found["region in the account"]["found"] == "AWS has no region 'sa-east-11'"
    assert "did you mean 'sa-east-1'" in found["region in the account"]["remedy"]


def test_unknown_region_without_credentials(doctor, without_credentials):
    assert doctor("-r", "sa-east-11", status=1)["region in the account"]["verdict"] == "missing"


def test_region_that_is_not_enabled(doctor):
    found = doctor("-r", "eu-south-1", status=1)
    assert found["region in the account"]["found"] == "eu-south-1 is not enabled"
    assert "aws account enable-region --region-name eu-south-1" in found["region in the account"]["remedy"]


@pytest.mark.parametrize(
    ("code", "verdict"),
    [("UnauthorizedOperation", "warning"), ("RequestLimitExceeded", "warning"), ("AuthFailure", "missing")],
)
def test_region_lookup_errors(doctor, fail, code, verdict):
    fail("DescribeRegions", "error", code=code, status=403, times=None)
    found = doctor(status=1)
    assert found["AWS credentials"]["verdict"] == "ok"
    assert found["region in the account"]["verdict"] == verdict


def test_unknown_profile(doctor, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    found = doctor(status=1)
    assert found["AWS credentials"]["verdict"] == "missing"
    assert "nobody" in found["AWS credentials"]["remedy"]


def test_unreachable_network_takes_seconds(doctor, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    found = doctor(status=1)
    assert time.monotonic() - began < 100
    assert found["AWS credentials"]["found"] == "no response from AWS"
    assert found["region in the account"]["verdict"] == "warning"


def test_the_account_is_checked_without_settings(doctor, config):
    config.path.write_text("{")
    found = doctor(status=1)
    assert found["settings"]["verdict"] == "missing"
    assert found["AWS credentials"]["verdict"] == found["region in the account"]["verdict"] == "ok"


def test_terminal_of_80_columns(invoke):
    invoke("bootstrap", "-r", REGION)
    status, output, _ = on_a_terminal(["doctor"], 80)
    assert status == 0
    assert max(len(line) for line in output.splitlines() if line.startswith(("┏", "│", "└"))) <= 80
    assert "Everything that is required is present." in output


def test_unknown_output_is_refused(invoke):
    assert "There is no output 'xml'" in invoke("doctor", "-o", "xml", status=2).err


def test_policy_of_one_command(invoke):
    done = invoke("doctor", "--policy", "cb.purchase")
    (document,) = documents_in(done.out)
    assert [statement["Sid"] for statement in document["Statement"]][:4] == [
        "SeeAccountAlias",
        "SeeOfferings",
        "SeeBlocks",
        "BuyBlocks",
    ]
    assert "spends money" in done.err


def test_policy_of_several_commands_and_of_all(invoke):
    def allows(names):
        policies = documents_in(invoke("doctor", "--policy", names).out)
        return {action for policy in policies for statement in policy["Statement"] for action in statement["Action"]}

    both = allows("cb.search,bootstrap")
    assert both == allows("cb.search") | allows("bootstrap")
    assert both | allows("deploy") < allows("all")
    assert json.loads(invoke("doctor", "--policy", "rehearse").out)["Statement"] == []


def test_policy_names_the_existing_bucket(invoke):
    before = invoke("doctor", "--policy", "info").out
    assert "arn:aws:s3:::torchneuron-code-server-tfstate-*-*" in before
    invoke("bootstrap", "-r", REGION)
    assert (
        f"arn:aws:s3:::torchneuron-code-server-tfstate-123456789012-{REGION}"
        in invoke("doctor", "--policy", "info").out
    )


@pytest.mark.parametrize(("given", "near"), [("cb.purchas", "cb.purchase"), ("deploi", "deploy"), ("al", "all")])
def test_policy_of_an_unknown_command_is_refused(invoke, given, near):
    done = invoke("doctor", "--policy", f"cb.list,{given}", status=2)
    assert f"did you mean {near!r}" in done.err
    assert done.out == ""


def test_policy_needs_no_aws(rehearsal_endpoint, control):
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "doctor", "--policy", "all"], cwd=ROOT, capture_output=True, check=True
    )
    assert {policy["Version"] for policy in documents_in(done.stdout.decode())} == {"2012-10-17"}
    assert control("calls") == {}
