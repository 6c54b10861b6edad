"""What people give for secret variables of task files: references, files, environment variables, a typed answer."""

from __future__ import annotations

import getpass
import os
import re
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torchneuron.aws.errors import calling
from torchneuron.core import display
from torchneuron.core.errors import AwsError, InputError
from torchneuron.setup import passwords
from torchneuron.setup.definition import TaskFile, Variable
from torchneuron.setup.delivery import Given
from torchneuron.setup.references import GIVEN, PARAMETER, SECRET, Reference, is_reference

if TYPE_CHECKING:
    from torchneuron.aws.session import Aws

WAYS = "Give a secret as secretsmanager:ARN, ssm:/NAME, @FILE or env:NAME, or answer the prompt."


def read(task_file: TaskFile, given: Mapping[str, str], *, ask: bool) -> tuple[dict[str, str], Given | None]:
    """What `fill` takes for `given`, and the values that have to be delivered for it.

    `ask`: prompt for a secret that nothing was given for. Raises InputError for what cannot be read.
    """
    values, plain = dict(given), dict[str, str]()
    run = uuid.uuid4().hex
    for name, variable in task_file.variables.items():
        text = given.get(name, variable.value)
        if not variable.secret or (text is None and not (ask and sys.stdin.isatty())):
            continue
        if text is not None and is_reference(text):
            continue
        plain[name] = _plain(variable, text)
        values[name] = str(Reference(GIVEN, run))
    return values, Given(run, plain) if plain else None


def with_versions(aws: Aws, task_file: TaskFile, values: Mapping[str, str]) -> dict[str, str]:
    """`values` with the present versions of what they refer to, so that a task sees a secret that has changed.

    Without the permission for that the references stay as they are: the machine may still read them.
    """
    known = dict(values)
    for name, variable in task_file.variables.items():
        text = values.get(name, variable.value) if variable.secret else None
        if text is None:
            continue
        reference = Reference.parse(text)
        try:
            known[name] = str(_present(aws, reference))
        except AwsError as error:
            display.note(f"A change of {reference} will not be seen. {error.what} {error.why}".rstrip())
            known[name] = text
    return known


def _present(aws: Aws, reference: Reference) -> Reference:
    if reference.kind == SECRET and not reference.version:
        return Reference(SECRET, reference.place, passwords.current_version(aws.secrets(), reference.place))
    if reference.kind == PARAMETER and ":" not in reference.place:
        with calling(f"look for the version of the parameter {reference.place}"):
            found = aws.ssm().describe_parameters(
                ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": [reference.place]}]
            )["Parameters"]
        if found:
            return Reference(PARAMETER, f"{reference.place}:{found[0]['Version']}")
    return reference


def _plain(variable: Variable, text: str | None) -> str:
    name = variable.name
    if text is None:
        value = getpass.getpass(f"{name}: ")
    elif text.startswith("@"):
        value = _from_file(name, Path(text[1:]))
    elif text.startswith("env:"):
        value = os.environ.get(text.removeprefix("env:"), "")
    else:
        display.warn(
            f"the value of {name} is seen by others on this machine, and kept in the shell's history. It is sent"
            f" encrypted. {WAYS}"
        )
        value = text
    if not value or "\0" in value:
        raise InputError(f"There is no value for the secret {name}.", do=WAYS)
    if variable.pattern and not re.fullmatch(variable.pattern, value):
        raise InputError(f"The value of {name} does not match {variable.pattern}.")
    return value


def _from_file(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"The file with the value of {name} cannot be read.", why=str(error), do=WAYS) from error
