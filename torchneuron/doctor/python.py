"""Checks of this Python, and of the packages that the commands import."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from torchneuron.core import versions
from torchneuron.doctor.findings import Finding, Verdict

OLDEST, NEWEST = (3, 10), (3, 13)
_REMEDY = 'make setup, and then:\nexport PATH="$PWD/.venv/bin:$PWD/node_modules/.bin:$PATH"'


@dataclass(frozen=True)
class Package:
    """A package by its name in `Pipfile`, the module that it is imported as, and the required release, if any.

    `starts_node`: importing it takes seconds because it starts Node, so it is only located.
    """

    name: str
    module: str
    release: str = ""
    starts_node: bool = False


PACKAGES = (
    Package("cdktf", "cdktf", versions.CDKTF, starts_node=True),
    Package("cdktf-cdktf-provider-aws", "cdktf_cdktf_provider_aws", versions.CDKTF_AWS_PROVIDER, starts_node=True),
    Package("constructs", "constructs", starts_node=True),
    Package("boto3", "boto3"),
    Package("invoke", "invoke"),
    Package("rich", "rich"),
    Package("jsonschema", "jsonschema"),
    Package("pydantic", "pydantic"),
    Package("filelock", "filelock"),
    Package("cryptography", "cryptography.hazmat.primitives.serialization.pkcs7"),
)


def version(current: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Whether the project runs, and is tested, on this version of Python."""
    found = ".".join(map(str, current))
    oldest, newest = (".".join(map(str, limit)) for limit in (OLDEST, NEWEST))
    remedy = f"make clean && make setup PYTHON=python{newest}"
    if current[:2] < OLDEST:
        return Finding("Python", f"{found}; {oldest} or newer is required", Verdict.MISSING, remedy)
    if current[:2] > NEWEST:
        return Finding("Python", f"{found}; tested up to {newest}", Verdict.WARNING, remedy)
    return Finding("Python", found, Verdict.OK)


def packages(required: Sequence[Package] = PACKAGES) -> Finding:
    """Whether all packages can be imported, in the required releases."""
    problems = [f"{package.name} {problem}" for package in required if (problem := _problem(package))]
    if problems:
        return Finding("Python packages", ", ".join(problems), Verdict.MISSING, _REMEDY)
    pinned = [f"{package.name} {importlib.metadata.version(package.name)}" for package in required if package.release]
    found = f"all {len(required)}" + (f"; {', '.join(pinned)}" if pinned else "")
    return Finding("Python packages", found, Verdict.OK)


def _problem(package: Package) -> str:
    """What is wrong with a package, empty if nothing."""
    try:
        installed = importlib.metadata.version(package.name)
        if not package.starts_node:
            importlib.import_module(package.module)
        elif importlib.util.find_spec(package.module) is None:
            return "is not installed"
    except (importlib.metadata.PackageNotFoundError, ModuleNotFoundError):
        return "is not installed"
    except Exception as error:  # a broken package may raise anything
        return f"cannot be imported ({error})"
    return f"is {installed}, not {package.release}" if package.release not in ("", installed) else ""
