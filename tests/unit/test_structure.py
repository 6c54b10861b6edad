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
    "torchneuron.aws.session",
    "torchneuron.aws.errors",
    "torchneuron.core.config",
    "torchneuron.core.display",
}
_IO = {"boto3", "botocore", "subprocess", "pathlib", "torchneuron.aws.session", "torchneuron.aws.errors"}
_NOT_INFRASTRUCTURE = {
    *("boto3", "botocore", "invoke", "rehearsal", "benchmarks"),
    *(f"torchneuron.{package}" for package in ("aws", "connectivity", "capacity_blocks", "setup", "deploy", "doctor")),
}
FORBIDDEN = {
    "main.py": _NOT_INFRASTRUCTURE,
    "stacks": _NOT_INFRASTRUCTURE,
    "tasks.py": {"cdktf", "stacks", "boto3", "rehearsal", "benchmarks"},
    "commands": {"cdktf", "stacks", "boto3", "rehearsal", "benchmarks"},
    "torchneuron": {"invoke", "cdktf", "moto", "rehearsal", "stacks", "tasks", "commands", "benchmarks"},
    "torchneuron/setup/definition.py": {"boto3", "botocore", "subprocess"},
    "torchneuron/setup/render.py": {"boto3", "botocore", "pathlib"},
    "torchneuron/setup/plan.py": _IO,
    "torchneuron/setup/document.py": _IO,
    "torchneuron/setup/steps.py": _IO,
    "torchneuron/connectivity/facts.py": _IO,
    "torchneuron/connectivity/diagnosis.py": _IO,
    "torchneuron/connectivity/remedies.py": _IO,
    "torchneuron/doctor/permissions.py": {
        "boto3",
        "botocore",
        "subprocess",
        "torchneuron.aws.session",
        "torchneuron.aws.errors",
        "torchneuron.core.display",
    },
    # They are what still works where packages are missing.
    "torchneuron/doctor/findings.py": _PACKAGES,
    "torchneuron/doctor/programs.py": _PACKAGES,
    "torchneuron/doctor/python.py": _PACKAGES,
    "rehearsal": {"torchneuron", "tasks", "commands", "stacks", "benchmarks"},
    "benchmarks": {"boto3", "botocore", "moto", "rehearsal", "stacks", "cdktf", "tests"},
    "tests": {"unittest.mock"},
}

# A package imports itself and those before it.
ORDER = ("core", "aws", "connectivity", "capacity_blocks", "setup", "deploy", "doctor")


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


@pytest.mark.parametrize("package", ORDER)
def test_packages_only_import_downwards(package):
    above = {f"torchneuron.{name}" for name in ORDER[ORDER.index(package) + 1 :]}
    upwards = [
        f"{source.relative_to(ROOT)} imports {name}"
        for source in sources(f"torchneuron/{package}")
        for name in imports(source)
        if ".".join(name.split(".")[:2]) in above
    ]
    assert upwards == []


def test_every_module_of_the_library_is_in_a_package_of_the_order():
    packages = {path.name for path in (ROOT / "torchneuron").iterdir() if path.name != "__pycache__"}
    assert packages == {"__init__.py", *ORDER}


@pytest.mark.parametrize(
    "arguments", [["--list"], ["setup", "--help"], ["cb.purchase", "--help"], ["doctor", "--help"]]
)
def test_listing_and_help_import_no_slow_package(arguments):
    code = (
        "import sys; from invoke import program, Collection\n"
        "from invoke.main import program\n"
        f"program.run(['invoke', *{arguments!r}], exit=False)\n"
        "print('LOADED', sorted({'boto3', 'botocore', 'cdktf', 'jsonschema', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


@pytest.mark.parametrize("tool", ["pipenv", "checkov", "cdktn"])
def test_a_tool_is_installed_by_version_and_hash(tool):
    text = (ROOT / "tools" / f"{tool}.txt").read_text()
    packages = text.replace(" \\\n", " ").splitlines()
    assert any(package.startswith(f"{tool}==") for package in packages)
    for package in packages:
        assert re.fullmatch(r"\S+==\S+( ; .+?)?( +--hash=sha256:[0-9a-f]{64})+", package), package
    assert f"--require-hashes -r tools/{tool}.txt" in (ROOT / "Makefile").read_text()
