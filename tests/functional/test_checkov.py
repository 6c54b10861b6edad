"""checkov over the synthesized stack: nothing fails but what `.checkov.yaml` lists, and everything listed is needed."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.stack_support import GOLDEN, VARIANTS

PROJECT = Path(__file__).resolve().parents[2]
# In an environment of its own (make): it wants older releases of what this project uses.
CHECKOV = PROJECT / ".tools" / "checkov" / "bin" / "checkov"
CONFIG = PROJECT / ".checkov.yaml"


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """Every variant as a folder of Terraform's JSON."""
    if not CHECKOV.exists():
        pytest.fail("checkov is missing: make .tools/checkov/.synced", pytrace=False)
    folder = tmp_path_factory.mktemp("variants")
    for name in VARIANTS:
        (folder / name).mkdir()
        shutil.copy(GOLDEN / f"{name}.json", folder / name / "cdk.tf.json")
    return folder


def failed(folder, *arguments):
    """The checks that failed, by id; how many passed."""
    command = [CHECKOV, "--directory", folder, "--output", "json", *arguments]
    # Not here: it would take this project's configuration by itself.
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    checks = {f"{one['check_id']} {one['resource']}" for one in answer["results"]["failed_checks"]}
    return checks, answer["summary"]["passed"]


def test_nothing_fails_but_what_is_listed_with_its_reason(variants):
    checks, passed = failed(variants, "--config-file", CONFIG)
    assert checks == set()
    assert passed > 20 * len(VARIANTS)


def test_everything_that_is_listed_would_fail(variants):
    listed = set(re.findall(r"^  - (CKV\w+)", CONFIG.read_text(), flags=re.MULTILINE))
    checks, _ = failed(variants, "--framework", "terraform_json", "--skip-download", "--compact", "--quiet")
    assert {one.split()[0] for one in checks} == listed


def test_what_is_wrong_is_found(variants, tmp_path):
    stack = json.loads((variants / "on-demand" / "cdk.tf.json").read_text())
    group = stack["resource"]["aws_security_group"]["machine"]
    group["ingress"] = [{"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_blocks": ["0.0.0.0/0"]}]
    (tmp_path / "cdk.tf.json").write_text(json.dumps(stack))
    checks, _ = failed(tmp_path, "--config-file", CONFIG)
    assert "CKV_AWS_24" in {one.split()[0] for one in checks}
