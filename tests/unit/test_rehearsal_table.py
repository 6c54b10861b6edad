"""docs/rehearsal.md says of every operation the rehearsal answers itself what of it is modelled: read from the code."""

import re
from pathlib import Path

import pytest
from moto.core.utils import camelcase_to_underscores

from rehearsal.aws.ec2.service import RehearsalEC2
from rehearsal.aws.iam.service import RehearsalIAM
from rehearsal.aws.pricing import RehearsalPricing
from rehearsal.aws.service_quotas import RehearsalServiceQuotas
from rehearsal.aws.ssm.service import RehearsalSSM
from rehearsal.conformance.models import service_model

CLASSES = {
    "ec2": RehearsalEC2,
    "iam": RehearsalIAM,
    "pricing": RehearsalPricing,
    "servicequotas": RehearsalServiceQuotas,
    "ssm": RehearsalSSM,
}
DOCS = Path(__file__).resolve().parents[2] / "docs" / "rehearsal.md"


def own_operations(service):
    for name in service_model(service).operation_names:
        method = getattr(CLASSES[service], camelcase_to_underscores(name), None)
        if method is not None and method.__module__.startswith("rehearsal."):
            yield name


def rows():
    """The tables' rows of "What is modelled": operations, modelled, not modelled, source."""
    text = DOCS.read_text().split("## What is modelled")[1]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return [row for row in cells if row[0] not in ("operation", "---")]


@pytest.mark.parametrize(
    ("service", "least"), [("ec2", 25), ("iam", 0), ("pricing", 1), ("servicequotas", 1), ("ssm", 10)]
)
def test_every_operation_stands_in_the_table(service, least):
    own = set(own_operations(service))
    named = {name for row in rows() for name in re.findall(r"\w+", row[0])}
    assert len(own) >= least
    assert own - named == set()


def test_every_operation_in_the_table_is_one_of_aws():
    known = {name for service in [*CLASSES, "s3"] for name in service_model(service).operation_names}
    named = {name for row in rows() for name in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", row[0])}
    assert named - known - {"RunShellScript", "UltraServers", "EventBridge"} == set()


def test_every_row_says_what_is_modelled_or_what_is_not_and_where_from():
    for row in rows():
        assert len(row) == 4, row
        assert row[1] or row[2], row
        assert row[3] or not row[1], row
