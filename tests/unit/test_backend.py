"""The backend that is written from the settings alone: the same as the synthesized one."""

import json

import pytest

from tests.unit.stack_support import GOLDEN, VARIANTS
from torchneuron.core.versions import AWS_PROVIDER
from torchneuron.deploy import backend

SYNTHESIZED = {name: json.loads((GOLDEN / f"{name}.json").read_text())["terraform"] for name in VARIANTS}


@pytest.mark.parametrize("name", sorted(VARIANTS.keys() - {"not-bootstrapped"}))
def test_backend_equals_the_synthesized_one(name):
    """Or each command that reads the state would initialize the folder again."""
    assert backend.block(VARIANTS[name].backend) == backend.part_of(SYNTHESIZED[name])


def test_provider_equals_the_synthesized_one():
    (provider,) = {json.dumps(terraform["required_providers"]) for terraform in SYNTHESIZED.values()}
    assert json.loads(provider) == {"aws": {"source": "aws", "version": AWS_PROVIDER}}
