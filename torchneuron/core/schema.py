"""JSON Schema validation of `config.json` and task files, with readable messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError, best_match

from torchneuron.core.errors import InputError
from torchneuron.core.text import unknown_name

# Group 1 matches an escape or a character set, in which `$` is no anchor.
_DOLLAR = re.compile(r"(\\.|\[(?:\\.|[^\]\\])*\])|\$")


@dataclass(frozen=True)
class Problem:
    """A problem in a document, at `path` (`tasks[3].id`)."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def read_json(path: Path) -> Any:
    """The JSON document in `path`. Raises InputError if it cannot be read or parsed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read {path}.", why=error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text.", why=str(error)) from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not JSON.", why=f"Line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error


def find_problems(document: Any, schema: Mapping[str, Any]) -> list[Problem]:
    """Every violation of `schema` in `document`, in document order."""
    validator = _Validator(schema)
    return [
        problem
        for error in sorted(validator.iter_errors(document), key=lambda error: _json_path(error))
        for problem in _explain(error)
    ]


def _check_pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    """The keyword `pattern` with the `$` of ECMA 262 (JSON Schema core, 6.4): Python's also accepts a final newline."""
    anchored = _DOLLAR.sub(lambda found: found[1] or r"\Z", pattern)
    if validator.is_type(value, "string") and not re.search(anchored, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"pattern": _check_pattern}
)


def _json_path(error: ValidationError) -> str:
    return error.json_path.removeprefix("$").removeprefix(".")


def _explain(error: ValidationError) -> Iterator[Problem]:
    """Replace messages of jsonschema that are hard to read."""
    path = _json_path(error)
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = list(schema.get("properties", {}))
        patterns = schema.get("patternProperties", {})
        for name in error.instance:
            if name not in known and not patterns:
                yield Problem(f"{path}.{name}".lstrip("."), unknown_name(name, known))
    elif error.validator in ("oneOf", "anyOf") and (inner := best_match([error])) and inner is not error:
        yield from _explain(inner)
    elif error.validator == "pattern":
        hint = schema.get("description", f"it does not match {error.validator_value}")
        yield Problem(path, f"invalid value {error.instance!r}: {hint}")
    else:
        yield Problem(path, error.message)
