"""Checks of Python and the settings, and the output of all findings."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit import golden
from torchneuron.doctor import checks, python
from torchneuron.doctor.doctor import print_table
from torchneuron.doctor.findings import Finding, Verdict, as_json, as_text, missing
from torchneuron.doctor.python import PACKAGES, Package

ROOT = Path(__file__).resolve().parents[2]
FINDINGS = [
    Finding("Python", "3.12.8", Verdict.OK),
    Finding("Terraform", "1.5.7; 1.11 or newer is required", Verdict.MISSING, "It deploys the machine.\nInstall it."),
    Finding("Session Manager plugin", "not installed", Verdict.WARNING, "For the editor.\nhttps://example.com/get"),
    Finding(
        "AWS credentials",
        "account 123456789012, arn:aws:sts::123456789012:assumed-role/Engineer/someone@example.com",
        Verdict.OK,
    ),
]


@pytest.mark.parametrize("width", [0, 80, 120])
def test_table_and_remedies(width):
    name = f"doctor-{width or 'piped'}.txt"
    golden.check(name, golden.printed(lambda: print_table(FINDINGS), width=width))


def test_json_and_text():
    output = json.loads(as_json(FINDINGS))
    assert output["ready"] is False
    assert output["checks"][1] == {
        "name": "Terraform",
        "found": "1.5.7; 1.11 or newer is required",
        "verdict": "missing",
        "remedy": "It deploys the machine.\nInstall it.",
    }
    lines = as_text(FINDINGS).splitlines()
    assert lines[1] == "Terraform: missing: 1.5.7; 1.11 or newer is required"
    assert "  https://example.com/get" in lines
    assert missing(FINDINGS) == ["Terraform"]
    assert json.loads(as_json(FINDINGS[2:]))["ready"] is True


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        ((3, 9, 21), Verdict.MISSING),
        ((3, 10, 0), Verdict.OK),
        ((3, 13, 9), Verdict.OK),
        ((3, 14, 0), Verdict.WARNING),
        ((4, 0, 0), Verdict.WARNING),
    ],
)
def test_python_versions(now, verdict):
    finding = python.version(now)
    assert finding.verdict is verdict
    assert finding.found.startswith(".".join(map(str, now)))
    assert bool(finding.remedy) is (verdict is not Verdict.OK)


def test_packages_and_releases_match_the_pipfile():
    listed = (ROOT / "Pipfile").read_text().partition("[packages]")[2].partition("[dev-packages]")[0]
    wanted = dict(re.findall(r'^([\w-]+) = "(?:==)?(.*)"$', listed, re.MULTILINE))
    assert {package.name for package in PACKAGES} == wanted.keys()
    assert {package.name: package.release for package in PACKAGES if package.release} == {
        name: release for name, release in wanted.items() if release[0].isdigit()
    }


def test_packages_are_checked_without_starting_node():
    code = (
        "import sys; from torchneuron.doctor import python; found = python.packages();"
        "print(found.verdict.value, found.found, 'cdktf' in sys.modules, 'jsii' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ok all 10; cdktf 0.21.0")
    assert done.stdout.endswith("False False\n")


def test_each_problem_with_a_package_is_listed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_package.py").write_text("raise OSError('no such library: libffi.so')")
    wrong = [
        Package("no-such-package", "no_such_package"),
        Package("rich", "rich", "0.0.1"),
        Package("jsonschema", "broken_package"),
        Package("cdktf", "no_such_module", starts_node=True),
    ]
    finding = python.packages([*wrong, Package("boto3", "boto3")])
    assert finding.verdict is Verdict.MISSING
    assert re.fullmatch(
        r"no-such-package is not installed, rich is [\d.]+, not 0\.0\.1, "
        r"jsonschema cannot be imported \(no such library: libffi\.so\), cdktf is not installed",
        finding.found,
    )
    assert "make setup" in finding.remedy


def test_without_the_packages_it_still_says_what_is_missing(tmp_path):
    code = (
        "import sys; sys.modules.update(rich=None, boto3=None)\n"
        "from invoke.main import program\n"
        "program.run(['invoke', 'doctor'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Python packages: missing: boto3 is not installed, rich is not installed" in done.stdout
    assert "Terraform: " in done.stdout
    assert "Traceback" not in done.stderr


@pytest.fixture
def write(tmp_path):
    """Writes a copy of the project's settings with changes, and returns its path."""

    def make(**changes):
        path = tmp_path / "config.json"
        document = json.loads((ROOT / "config.json").read_text())
        path.write_text(json.dumps({**document, **changes}))
        return path

    return make


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_valid_settings(write):
    path = write(backend={"type": "s3", "bucket": "some-states", "region": "us-east-2"})
    found, region = checks.check_settings("", path)
    assert region == "sa-east-1"
    assert [(finding.found, finding.verdict) for finding in found] == [
        (str(path), Verdict.OK),
        ("sa-east-1", Verdict.OK),
        ("some-states in us-east-2", Verdict.OK),
    ]


def test_local_state_needs_no_bucket(write):
    found, _ = checks.check_settings("us-east-2", write(backend={"type": "local"}))
    assert by_name(found)["state bucket"].verdict is Verdict.OK
    assert "us-east-2.tfstate" in by_name(found)["state bucket"].found


def test_missing_settings(write):
    found, region = checks.check_settings("us-west-2", write(backend={"type": "s3"}))
    assert region == "us-west-2"
    named = by_name(found)
    assert named["settings"].verdict is Verdict.OK
    assert named["region in the settings"].verdict is Verdict.MISSING
    assert 'under "regions"' in named["region in the settings"].remedy
    assert named["state bucket"].remedy.endswith("invoke bootstrap -r us-west-2")


@pytest.mark.parametrize("text", ["{", "[]", '{"projectName": "X"}', None])
def test_unreadable_settings_do_not_stop_the_other_checks(tmp_path, monkeypatch, text):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    found, region = checks.check_settings("", path)
    assert region == "eu-west-1"
    assert checks.check_settings("us-east-2", path)[1] == "us-east-2"
    assert [finding.verdict for finding in found] == [Verdict.MISSING, Verdict.WARNING, Verdict.WARNING]
    assert str(path) in found[0].found
    assert all(finding.remedy for finding in found)
