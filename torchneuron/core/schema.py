"""JSON Schema validation with messages for people: where, what, and the nearest known name.

`config.json` and the task files are both checked by it; the same schemas serve editors.
"""

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

# A `$` that is neither escaped nor in a set of characters; what it could be mistaken for comes first.
_DOLLAR = re.compile(r"(\\.|\[(?:\\.|[^\]\\])*\])|\$")


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a document: `path` is where (`tasks[3].id`), `message` what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def read_json(path: Path) -> Any:
    """The document in `path`. Raises InputError when it cannot be read or is not JSON."""
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
    """Everything in `document` that `schema` does not allow, in document order."""
    validator = _Validator(schema)
    return [
        problem
        for error in sorted(validator.iter_errors(document), key=lambda error: _json_path(error))
        for problem in _explain(error)
    ]


def _check_pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    """The keyword `pattern`, whose `$` is ECMA 262's (JSON Schema core, 6.4): Python's also ends before a newline."""
    anchored = _DOLLAR.sub(lambda found: found[1] or r"\Z", pattern)
    if validator.is_type(value, "string") and not re.search(anchored, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"pattern": _check_pattern}
)


def _json_path(error: ValidationError) -> str:
    return error.json_path.removeprefix("$").removeprefix(".")


def _explain(error: ValidationError) -> Iterator[Problem]:
    """Turn jsonschema's wording into ours where a person would stumble over it."""
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
        yield Problem(path, f"{error.instance!r} is not allowed here: {hint}")
    else:
        yield Problem(path, error.message)
