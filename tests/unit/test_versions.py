"""Versions that files outside the code repeat."""

from __future__ import annotations

import json

import pytest

from torchneuron.core import versions
from torchneuron.core.config import PROJECT_ROOT


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("Pipfile", f'cdktf = "=={versions.CDKTF}"'),
        ("Pipfile", f'cdktf-cdktf-provider-aws = "=={versions.CDKTF_AWS_PROVIDER}"'),
        ("tools/cdktn.in", f"cdktn=={versions.CDKTN}"),
        ("tools/cdktn.in", f"cdktn-provider-aws=={versions.CDKTN_AWS_PROVIDER}"),
        ("package.json", f'"cdktf-cli": "{versions.CDKTF}"'),
        ("tools/check-programs.sh", f"need Terraform {versions.MINIMUM_TERRAFORM} "),
        ("README.md", f"Terraform {versions.MINIMUM_TERRAFORM} or newer"),
        ("docs/dependencies.md", f"| cdktf {versions.CDKTF} |"),
        ("docs/dependencies.md", f"| cdktf-cdktf-provider-aws {versions.CDKTF_AWS_PROVIDER} |"),
        ("docs/dependencies.md", f"| cdktf-cli {versions.CDKTF} (npm) |"),
    ],
)
def test_files_repeat_the_versions_of_the_code(file, text):
    assert text in (PROJECT_ROOT / file).read_text()


def test_lock_file_has_the_pinned_releases():
    locked = json.loads((PROJECT_ROOT / "Pipfile.lock").read_text())["default"]
    assert locked["cdktf"]["version"] == f"=={versions.CDKTF}"
    assert locked["cdktf-cdktf-provider-aws"]["version"] == f"=={versions.CDKTF_AWS_PROVIDER}"


def test_versions_compare_by_number():
    assert versions.numbers("1.11") > versions.numbers("1.9.8")
