"""This Python, and the packages that the commands import."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from torchneuron.core import versions
from torchneuron.doctor.finding import Finding, Verdict

OLDEST, NEWEST = (3, 10), (3, 13)
_REMEDY = 'make setup, and then:\nexport PATH="$PWD/.venv/bin:$PWD/node_modules/.bin:$PATH"'


@dataclass(frozen=True)
class Package:
    """A package by its name in `Pipfile`, the module it is imported as, and the one release that will do, if any.

    `starts_node`: importing it starts Node, for seconds; that it can be found has to do.
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


def version(now: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Whether this project runs, and is tested, on a Python of this version."""
    found = ".".join(map(str, now))
    oldest, newest = (".".join(map(str, limit)) for limit in (OLDEST, NEWEST))
    remedy = f"make clean && make setup PYTHON=python{newest}"
    if now[:2] < OLDEST:
        return Finding("Python", f"{found}; {oldest} or newer is needed", Verdict.MISSING, remedy)
    if now[:2] > NEWEST:
        return Finding("Python", f"{found}; tested up to {newest}", Verdict.WARNING, remedy)
    return Finding("Python", found, Verdict.OK)


def packages(wanted: Sequence[Package] = PACKAGES) -> Finding:
    """Whether all the packages can be imported, in the releases that this project knows."""
    wrong = [f"{one.name} {why}" for one in wanted if (why := _wrong_with(one))]
    if wrong:
        return Finding("Python packages", ", ".join(wrong), Verdict.MISSING, _REMEDY)
    named = ", ".join(f"{one.name} {importlib.metadata.version(one.name)}" for one in wanted if one.release)
    return Finding("Python packages", f"all {len(wanted)}; {named}" if named else f"all {len(wanted)}", Verdict.OK)


def _wrong_with(package: Package) -> str:
    """What is wrong with a package; nothing where it is well."""
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
