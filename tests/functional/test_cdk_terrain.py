"""The stack synthesized with CDK Terrain: it differs from cdktf's in the provider's source and version only."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.unit.stack_support import GOLDEN, VARIANTS
from torchneuron.core.config import PROJECT_ROOT

PYTHON = PROJECT_ROOT / ".tools" / "cdktn" / "bin" / "python"


@pytest.fixture(scope="module")
def with_cdktn():
    """Every variant, synthesized with CDK Terrain in one process."""
    if not PYTHON.exists():
        pytest.fail("CDK Terrain is not installed: make .tools/cdktn/.synced")
    done = subprocess.run(
        [PYTHON, "-m", "tests.unit.stack_support"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", VARIANTS)
def test_cdk_terrain_synthesizes_the_same_stack(name, with_cdktn):
    stack, golden = with_cdktn[name], json.loads((GOLDEN / f"{name}.json").read_text())
    provider = stack["terraform"]["required_providers"].pop("aws")
    golden["terraform"]["required_providers"].pop("aws")
    assert provider["source"] == "hashicorp/aws"
    assert stack == golden
