"""checkov on the synthesized stack: only the checks listed in `.checkov.yaml` fail, and each of them does."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.stack_support import GOLDEN, VARIANTS

PROJECT = Path(__file__).resolve().parents[2]
# Installed in its own environment (make), since it needs older releases of this project's dependencies.
CHECKOV = PROJECT / ".tools" / "checkov" / "bin" / "checkov"
CONFIG = PROJECT / ".checkov.yaml"


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """Every variant as a folder of Terraform's JSON, without `required_version`: checkov 3.3 cannot parse it there."""
    if not CHECKOV.exists():
        pytest.fail("checkov is missing: make .tools/checkov/.synced", pytrace=False)
    folder = tmp_path_factory.mktemp("variants")
    for name in VARIANTS:
        (folder / name).mkdir()
        stack = json.loads((GOLDEN / f"{name}.json").read_text())
        del stack["terraform"]["required_version"]
        (folder / name / "cdk.tf.json").write_text(json.dumps(stack))
    return folder


def failed(folder, *arguments):
    """The ids and resources of failed checks, and the number of passed checks."""
    command = [CHECKOV, "--directory", folder, "--output", "json", *arguments]
    # In another folder, since checkov would read this project's configuration from the current one.
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    checks = {f"{check['check_id']} {check['resource']}" for check in report["results"]["failed_checks"]}
    return checks, report["summary"]["passed"]


def test_only_listed_checks_fail(variants):
    checks, passed = failed(variants, "--config-file", CONFIG)
    assert checks == set()
    assert passed > 20 * len(VARIANTS)


def test_every_listed_check_fails(variants):
    listed = set(re.findall(r"^  - (CKV\w+)", CONFIG.read_text(), flags=re.MULTILINE))
    checks, _ = failed(variants, "--framework", "terraform_json", "--skip-download", "--compact", "--quiet")
    assert {check.split()[0] for check in checks} == listed


def test_open_ssh_port_is_found(variants, tmp_path):
    stack = json.loads((variants / "on-demand" / "cdk.tf.json").read_text())
    group = stack["resource"]["aws_security_group"]["machine"]
    group["ingress"] = [{"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_blocks": ["0.0.0.0/0"]}]
    (tmp_path / "cdk.tf.json").write_text(json.dumps(stack))
    checks, _ = failed(tmp_path, "--config-file", CONFIG)
    assert "CKV_AWS_24" in {check.split()[0] for check in checks}
