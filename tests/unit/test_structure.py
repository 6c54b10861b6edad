"""Who may import whom, read from the sources: design decisions that no reviewer has to remember."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = {
    "boto3",
    "botocore",
    "rich",
    "jsonschema",
    "torchneuron.aws",
    "torchneuron.aws_errors",
    "torchneuron.config",
    "torchneuron.display",
}
_IO = {"boto3", "botocore", "subprocess", "pathlib", "torchneuron.aws", "torchneuron.aws_errors"}
FORBIDDEN = {
    "main.py": {"boto3", "botocore", "invoke", "rehearsal", "benchmarks"},
    "stacks": {"boto3", "botocore", "invoke", "rehearsal", "benchmarks"},
    "tasks.py": {"cdktf", "stacks", "boto3", "rehearsal", "benchmarks"},
    "commands": {"cdktf", "stacks", "boto3", "rehearsal", "benchmarks"},
    "torchneuron": {"invoke", "cdktf", "moto", "rehearsal", "stacks", "tasks", "commands", "benchmarks"},
    "torchneuron/setup/definition.py": {"boto3", "botocore", "subprocess"},
    "torchneuron/setup/render.py": {"boto3", "botocore", "subprocess", "pathlib"},
    "torchneuron/setup/plan.py": _IO,
    "torchneuron/setup/document.py": _IO,
    "torchneuron/setup/steps.py": _IO,
    "torchneuron/reach/facts.py": _IO,
    "torchneuron/reach/diagnosis.py": _IO,
    "torchneuron/reach/remedies.py": _IO,
    "torchneuron/permissions.py": {
        "boto3",
        "botocore",
        "subprocess",
        "torchneuron.aws",
        "torchneuron.aws_errors",
        "torchneuron.display",
    },
    # They are what still works where packages are missing.
    "torchneuron/doctor/finding.py": _PACKAGES,
    "torchneuron/doctor/programs.py": _PACKAGES,
    "torchneuron/doctor/python.py": _PACKAGES,
    "rehearsal": {"torchneuron", "tasks", "commands", "stacks", "benchmarks"},
    "benchmarks": {"boto3", "botocore", "moto", "rehearsal", "stacks", "cdktf", "tests"},
    "tests": {"unittest.mock"},
}


def sources(place):
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def imports(source):
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("place", FORBIDDEN)
def test_nothing_imports_what_it_must_not(place):
    found = sources(place)
    assert found
    wrong = [
        f"{source.relative_to(ROOT)} imports {name}"
        for source in found
        for name in imports(source)
        if any(name == banned or name.startswith(banned + ".") for banned in FORBIDDEN[place])
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "arguments", [["--list"], ["setup", "--help"], ["cb.purchase", "--help"], ["doctor", "--help"]]
)
def test_listing_and_help_import_neither_boto3_nor_cdktf(arguments):
    code = (
        "import sys; from invoke import program, Collection\n"
        "from invoke.main import program\n"
        f"program.run(['invoke', *{arguments!r}], exit=False)\n"
        "print('LOADED', sorted({'boto3', 'botocore', 'cdktf', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


@pytest.mark.parametrize("tool", ["pipenv", "checkov"])
def test_a_tool_is_installed_by_version_and_hash(tool):
    text = (ROOT / "tools" / f"{tool}.txt").read_text()
    packages = text.replace(" \\\n", " ").splitlines()
    assert any(package.startswith(f"{tool}==") for package in packages)
    for package in packages:
        assert re.fullmatch(r"\S+==\S+( ; .+?)?( +--hash=sha256:[0-9a-f]{64})+", package), package
    assert f"--require-hashes -r tools/{tool}.txt" in (ROOT / "Makefile").read_text()
